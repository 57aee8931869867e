mod bearers;
mod flood;
mod forge;
mod hostile;
mod key_cache;
mod key_set;
