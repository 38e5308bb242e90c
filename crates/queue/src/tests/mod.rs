//! The planner against a model that knows only what each recipient may go through, under random
//! operations; and a look inside after each of them.

mod consistent;
mod model;
