mod bearers;
mod forge;
mod hostile;
mod key_cache;
mod key_set;
