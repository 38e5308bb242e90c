//! The agent against servers on real sockets, most of them bad. One file is one story.

mod from_spool;
mod goodbyes;
mod greetings;
mod kept;
mod limits;
mod loops;
mod mx;
mod old_servers;
mod one_message;
mod sink;
mod slow;
mod tls;
mod world;
