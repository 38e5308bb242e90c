//! Postfix as a relay, given what helps it here: no DNS, no look-ups, enough processes and parallel deliveries.
//! Its sync before 250 is on; it cannot be switched off.

use std::net::SocketAddr;
use std::process::Command;

use testkit::peers::{give_to_user, postfix_services, stop_postfix};
use testkit::{Daemon, Scratch, free_address};

use super::{Place, SINK_DOMAIN};
use crate::process::Tree;

pub struct Postfix {
    address: SocketAddr,
    daemon: Daemon,
    scratch: Scratch,
}

impl Postfix {
    pub fn start(place: &Place, sink: SocketAddr, under: &[String]) -> Postfix {
        let scratch = Scratch::within(&place.directory, "bench-postfix");
        let address = free_address();
        let root = scratch.path().display();
        for name in ["conf", "queue", "data"] {
            std::fs::create_dir(scratch.join(name)).expect("the scratch directory is writable");
        }
        give_to_user(&scratch.join("data"), "postfix");
        scratch.write(
            "conf/main.cf",
            format!(
                "compatibility_level = 3.6\n\
                 queue_directory = {root}/queue\n\
                 data_directory = {root}/data\n\
                 myhostname = postfix.test\n\
                 mydestination =\n\
                 mynetworks = 127.0.0.0/8\n\
                 alias_maps =\n\
                 inet_interfaces = 127.0.0.1\n\
                 inet_protocols = ipv4\n\
                 relay_domains = {SINK_DOMAIN}\n\
                 relay_transport = smtp:[127.0.0.1]:{port}\n\
                 smtp_dns_support_level = disabled\n\
                 smtp_host_lookup = native\n\
                 smtpd_peername_lookup = no\n\
                 default_process_limit = 250\n\
                 smtp_destination_concurrency_limit = 50\n\
                 initial_destination_concurrency = 20\n\
                 smtpd_client_connection_count_limit = 0\n\
                 smtpd_client_event_limit_exceptions = static:all\n\
                 in_flow_delay = 0\n\
                 qmgr_message_active_limit = 40000\n\
                 qmgr_message_recipient_limit = 40000\n\
                 maillog_file = {root}/maillog\n\
                 maillog_file_prefixes = {root}\n",
                port = sink.port(),
            ),
        );
        scratch.write("conf/master.cf", format!("{address} inet n - n - - smtpd\n{}", postfix_services()));
        let mut command = match under.split_first() {
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg("/usr/sbin/postfix");
                command
            }
            None => Command::new("/usr/sbin/postfix"),
        };
        command.arg("-c").arg(scratch.join("conf")).arg("start-fg");
        let mut daemon = Daemon::start(command, &scratch.join("output"));
        daemon.wait_for_port(address);
        Postfix { address, daemon, scratch }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn tree(&self) -> Tree {
        Tree::of(self.daemon.pid().as_raw_nonzero().get().unsigned_abs())
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        stop_postfix(&mut self.daemon, &self.scratch.join("queue"));
    }
}
