//! The agent as a whole: a process of its own, watched from outside.

mod http;
mod life;
mod support;
