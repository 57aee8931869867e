mod fleet;
mod histories;
mod rules;
mod single;
