//! What follows from what the DNS says.

use base::Enhanced;

use crate::dns::Dns;
use crate::script::Script;
use crate::{HostPort, HostTable, LookupError, Resolver, ResolverConfig, Route, RouteError, RoutePlan};

fn resolver(config: ResolverConfig, lines: &[&str]) -> Resolver {
    Resolver::with_dns(Dns::Script(Script::new(lines)), config, fastrand::Rng::with_seed(3))
}

async fn plan(site: &str, lines: &[&str]) -> Result<RoutePlan, RouteError> {
    let config = ResolverConfig {
        hostnames: vec!["relay.example".into()],
        listeners: vec!["9.9.9.9:25".parse().unwrap()],
        ..ResolverConfig::default()
    };
    resolver(config, lines).plan(site).await
}

/// The hosts as `name=address,address name=…`.
fn shown(plan: &Result<RoutePlan, RouteError>) -> String {
    let plan = plan.as_ref().unwrap_or_else(|error| panic!("{error}"));
    let host = |host: &crate::Host| {
        let addresses: Vec<String> = host.addresses.iter().map(ToString::to_string).collect();
        format!("{}={}", host.name, addresses.join(","))
    };
    plan.hosts.iter().map(host).collect::<Vec<_>>().join(" ")
}

fn permanent(plan: &Result<RoutePlan, RouteError>) -> (u16, Enhanced) {
    match plan {
        Err(RouteError::Permanent(reply)) => (reply.code, reply.enhanced.expect("ours have one")),
        other => panic!("{other:?} is not permanent"),
    }
}

fn temporary(plan: &Result<RoutePlan, RouteError>) -> String {
    match plan {
        Err(RouteError::Temporary(reply)) => {
            assert_eq!((reply.code, reply.enhanced), (451, Some(Enhanced(4, 4, 3))));
            reply.text.to_string()
        }
        other => panic!("{other:?} is not temporary"),
    }
}

#[tokio::test]
async fn servers_are_tried_in_the_order_of_their_preference() {
    let plan = plan(
        "example.org",
        &[
            "example.org MX 20 backup.example.org",
            "example.org MX 10 mx.example.org",
            "mx.example.org A 8.0.0.1",
            "mx.example.org AAAA 2a00::1",
            "backup.example.org A 8.0.0.2",
        ],
    )
    .await;
    assert_eq!(shown(&plan), "mx.example.org=8.0.0.1:25,[2a00::1]:25 backup.example.org=8.0.0.2:25");
    assert_eq!(&*plan.unwrap().site, "example.org");
}

#[tokio::test]
async fn without_an_mx_the_domain_itself_takes_the_mail() {
    assert_eq!(shown(&plan("example.org", &["example.org A 8.0.0.1"]).await), "example.org=8.0.0.1:25");
    assert_eq!(shown(&plan("example.org", &["example.org AAAA 2a00::1"]).await), "example.org=[2a00::1]:25");
    assert_eq!(permanent(&plan("example.org", &["example.org TXT x"]).await), (550, Enhanced(5, 4, 4)));
}

#[tokio::test]
async fn a_domain_that_does_not_exist_bounces_at_once() {
    let plan = plan("nowhere.example", &[]).await;
    assert_eq!(permanent(&plan), (550, Enhanced(5, 1, 2)));
    assert_eq!(plan.unwrap_err().to_string(), "550 5.1.2 There is no domain nowhere.example; check the address");
}

#[tokio::test]
async fn a_domain_that_takes_no_mail_bounces_at_once_even_if_it_has_an_address() {
    let plan = plan("quiet.example", &["quiet.example MX 0 .", "quiet.example A 8.0.0.1"]).await;
    assert_eq!(permanent(&plan), (556, Enhanced(5, 1, 10)));
}

#[tokio::test]
async fn what_the_dns_does_not_say_never_bounces() {
    for why in ["the name server answered SERVFAIL", "the name server did not answer in time", "REFUSED"] {
        let line = format!("example.org MX !{why}");
        let text = temporary(&plan("example.org", &[&line, "example.org A 8.0.0.1"]).await);
        assert!(text.contains("example.org") && text.contains(why), "{text}");
    }
    let lines = ["example.org A !SERVFAIL", "example.org AAAA !SERVFAIL"];
    assert!(temporary(&plan("example.org", &lines).await).contains("SERVFAIL"));
    // No IPv4, and IPv6 unknown: there may be a server.
    assert!(temporary(&plan("example.org", &["example.org AAAA !time-out"]).await).contains("time-out"));
}

#[tokio::test]
async fn one_server_that_cannot_be_resolved_does_not_hide_the_others() {
    let lines = [
        "example.org MX 10 lost.example.org",
        "example.org MX 20 mx.example.org",
        "lost.example.org A !SERVFAIL",
        "lost.example.org AAAA !SERVFAIL",
        "mx.example.org A 8.0.0.2",
        "mx.example.org AAAA !SERVFAIL",
    ];
    assert_eq!(shown(&plan("example.org", &lines).await), "mx.example.org=8.0.0.2:25");
    // The other does not exist: there is still hope for the first.
    assert!(temporary(&plan("example.org", &lines[..4]).await).contains("lost.example.org"));
}

#[tokio::test]
async fn servers_without_names_or_addresses_bounce() {
    let plan1 = plan("example.org", &["example.org MX 10 gone.example.org"]).await;
    assert_eq!(permanent(&plan1), (550, Enhanced(5, 4, 4)));
    assert!(plan1.unwrap_err().to_string().ends_with("gone.example.org: there is no such name"));
    let plan2 = plan("example.org", &["example.org MX 10 8.0.0.1", "example.org A 8.0.0.1"]).await;
    assert_eq!(permanent(&plan2), (550, Enhanced(5, 4, 4)));
}

#[tokio::test]
async fn mail_that_would_come_back_to_us_is_not_sent() {
    let by_name = plan("example.org", &["example.org MX 10 relay.example", "relay.example A 8.0.0.1"]).await;
    assert_eq!(permanent(&by_name), (554, Enhanced(5, 4, 6)));
    let by_address = plan("example.org", &["example.org MX 10 alias.example", "alias.example A 9.9.9.9"]).await;
    assert_eq!(permanent(&by_address), (554, Enhanced(5, 4, 6)));
    let literal = plan("[9.9.9.9]", &[]).await;
    assert_eq!(permanent(&literal), (554, Enhanced(5, 4, 6)));
}

#[tokio::test]
async fn as_a_backup_we_send_to_those_that_are_better_than_we_are() {
    let lines = [
        "example.org MX 10 best.example.org",
        "example.org MX 20 relay.example",
        "example.org MX 20 equal.example.org",
        "example.org MX 30 worse.example.org",
        "best.example.org A 8.0.0.1",
        "equal.example.org A 8.0.0.2",
        "worse.example.org A 8.0.0.3",
    ];
    assert_eq!(shown(&plan("example.org", &lines).await), "best.example.org=8.0.0.1:25");
    let mut without_best = lines;
    without_best[4] = "best.example.org A !SERVFAIL";
    assert!(temporary(&plan("example.org", &without_best).await).contains("best.example.org"));
}

#[tokio::test]
async fn a_zone_cannot_aim_our_mail_at_our_own_network() {
    for address in ["127.0.0.1", "10.0.0.5", "169.254.169.254", "0.0.0.0"] {
        let line = format!("mx.example.org A {address}");
        let plan = plan("example.org", &["example.org MX 10 mx.example.org", &line]).await;
        assert_eq!(permanent(&plan), (550, Enhanced(5, 4, 4)));
        assert!(plan.unwrap_err().to_string().contains(address));
    }
    assert_eq!(permanent(&plan("[10.0.0.1]", &[]).await), (550, Enhanced(5, 4, 4)));
    let lab = ResolverConfig { allow_private: true, ..ResolverConfig::default() };
    let found = resolver(lab, &["example.org A 10.0.0.5"]).plan("example.org").await;
    assert_eq!(shown(&found), "example.org=10.0.0.5:25");
}

#[tokio::test]
async fn an_address_literal_needs_no_dns() {
    assert_eq!(shown(&plan("[8.0.0.1]", &[]).await), "8.0.0.1=8.0.0.1:25");
    assert_eq!(shown(&plan("[ipv6:2a00::1]", &[]).await), "2a00::1=[2a00::1]:25");
    assert_eq!(permanent(&plan("[nonsense]", &[]).await), (550, Enhanced(5, 4, 4)));
}

#[tokio::test]
async fn three_hundred_servers_are_no_reason_to_ask_three_hundred_times() {
    let mut lines: Vec<String> = (0..300).map(|n| format!("example.org MX {n} mx{n}.example.org")).collect();
    lines.extend((0..300).map(|n| format!("mx{n}.example.org A 8.0.1.{}", n % 200)));
    lines.extend((0..30).map(|n| format!("mx0.example.org A 8.0.2.{n}")));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let plan = plan("example.org", &lines).await.unwrap();
    assert_eq!(plan.hosts.len(), 20);
    assert_eq!((&*plan.hosts[0].name, plan.hosts[0].addresses.len()), ("mx0.example.org", 10));
}

#[tokio::test]
async fn a_laboratory_maps_domains_to_its_own_servers() {
    let host = |host: &str, port| HostPort { host: host.into(), port };
    let hosts = HostTable::new([
        ("example.test", host("127.0.0.1", 2526)),
        ("*.lab", host("mx.inside", 26)),
        ("*.gone", host("nobody.inside", 25)),
    ])
    .unwrap();
    let config = ResolverConfig { hosts, ..ResolverConfig::default() };
    let resolver = resolver(config, &["mx.inside A 10.0.0.1", "example.org A 8.0.0.1"]);
    assert_eq!(shown(&resolver.plan("example.test").await), "127.0.0.1=127.0.0.1:2526");
    assert_eq!(shown(&resolver.plan("a.lab").await), "mx.inside=10.0.0.1:26");
    assert_eq!(shown(&resolver.plan("example.org").await), "example.org=8.0.0.1:25");
    // A mistake in our configuration is nobody's bounce.
    let Err(RouteError::Temporary(reply)) = resolver.plan("a.gone").await else { panic!("not temporary") };
    assert_eq!(reply.enhanced, Some(Enhanced(4, 3, 5)));
    let smart_host = Route::Fixed(host("mx.inside", 587));
    assert_eq!(shown(&resolver.plan_by(&smart_host, "example.org").await), "mx.inside=10.0.0.1:587");
}

#[tokio::test]
async fn a_self_check_learns_by_what_name_we_go() {
    let resolver = resolver(
        ResolverConfig::default(),
        &["1.0.0.8.in-addr.arpa. PTR relay.example", "relay.example A 8.0.0.1", "x.example A !SERVFAIL"],
    );
    let name = resolver.reverse_name("8.0.0.1".parse().unwrap()).await.unwrap();
    assert_eq!(resolver.addresses_of(&name).await.unwrap(), ["8.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(resolver.reverse_name("8.0.0.2".parse().unwrap()).await, Err(LookupError::Absent));
    assert_eq!(resolver.addresses_of("x.example").await, Err(LookupError::Unknown("SERVFAIL".into())));
}
