mod fleet;
mod histories;
mod places;
mod rests;
mod rules;
mod single;
