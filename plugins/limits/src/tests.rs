mod fleet;
mod histories;
mod places;
mod rules;
mod single;
