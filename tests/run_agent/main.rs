//! The agent as a whole: a process of its own, watched from outside.

mod api;
mod http;
mod life;
mod support;
