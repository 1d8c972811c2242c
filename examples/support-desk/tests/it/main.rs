//! The desk and its agent together, over HTTP and stdio, in every revision the agent speaks.

mod desk_over_http;
mod desk_over_stdio;
mod process;
mod stage;
