//! Recipients that behave on demand, in sandbox and live mode alike, so that a program can be tried
//! against every outcome without any mail leaving the machine.

use std::time::Duration;

use base::{Address, Enhanced, Reply};

/// The domain whose addresses are simulated.
pub const DOMAIN: &str = "simulator.postrider.test";

/// How long `slow@` takes to answer.
pub const SLOW_DELAY: Duration = Duration::from_secs(20);

/// What a simulated recipient does. Whether 2xx, 4xx or 5xx, the reply decides the outcome as a
/// real server's would.
#[derive(Debug, PartialEq, Eq)]
pub struct Behaviour {
    pub delay: Duration,
    pub reply: Reply,
}

/// `delivered@`, `bounce@`, `defer@` and `slow@`; with a `+tag` behind the name too. Any other name
/// is an unknown mailbox.
pub fn behaviour(recipient: &Address) -> Behaviour {
    let name = recipient.local_part().split('+').next().unwrap_or_default().to_ascii_lowercase();
    let (delay, reply) = match name.as_str() {
        "delivered" => (Duration::ZERO, Reply::new(250, Enhanced(2, 1, 5), "simulated: delivered")),
        "slow" => (SLOW_DELAY, Reply::new(250, Enhanced(2, 1, 5), "simulated: delivered, slowly")),
        "defer" => (Duration::ZERO, Reply::new(451, Enhanced(4, 3, 0), "simulated: try again later")),
        "bounce" => (Duration::ZERO, Reply::new(550, Enhanced(5, 1, 1), "simulated: no such user")),
        _ => (
            Duration::ZERO,
            Reply::new(550, Enhanced(5, 1, 1), "simulated: use delivered@, bounce@, defer@ or slow@ at this domain"),
        ),
    };
    Behaviour { delay, reply }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_outcome() {
        let code = |local: &str| behaviour(&format!("{local}@{DOMAIN}").parse().unwrap()).reply.code;
        assert_eq!(code("delivered"), 250);
        assert_eq!(code("Delivered+order-17"), 250);
        assert_eq!(code("bounce"), 550);
        assert_eq!(code("defer"), 451);
        assert_eq!(code("unheard-of"), 550);
        assert_eq!(behaviour(&format!("slow@{DOMAIN}").parse().unwrap()).delay, SLOW_DELAY);
    }
}
