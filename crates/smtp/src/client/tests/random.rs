//! Whatever a server sends, in whatever pieces, nobody is lost and nothing panics.

use proptest::prelude::*;

use super::*;

/// Lines that lead deep into the engine more often than noise does.
fn server_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => Just(b"250 ok\r\n".to_vec()),
        4 => Just(b"354 go\r\n".to_vec()),
        1 => Just(b"250-PIPELINING\r\n".to_vec()),
        1 => Just(b"220 go\r\n".to_vec()),
        1 => Just(b"421 bye\r\n".to_vec()),
        1 => Just(b"452 4.5.3 many\r\n".to_vec()),
        2 => Just(b"550 5.1.1 no\n".to_vec()),
        1 => Just(b"334 \r\n".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

#[derive(Debug, Clone)]
enum Deed {
    Says(Vec<u8>),
    Begin(usize),
    Body(Vec<u8>),
    BodyEnd,
    Takes(usize),
    TlsStarted,
    Closed,
    TimedOut,
    Quit,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        12 => server_line().prop_map(Deed::Says),
        4 => (0usize..4).prop_map(Deed::Begin),
        2 => "[.a\r\n]{0,8}".prop_map(|text| Deed::Body(text.into_bytes())),
        1 => Just(Deed::BodyEnd),
        2 => prop_oneof![Just(0usize), 1usize..20, Just(usize::MAX)].prop_map(Deed::Takes),
        1 => Just(Deed::TlsStarted),
        1 => Just(Deed::Closed),
        1 => Just(Deed::TimedOut),
        1 => Just(Deed::Quit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_recipient_comes_back_once(
        open in any::<bool>(),
        next in prop_oneof![Just(Next::AfterReply), Just(Next::BehindDot)],
        pulled in any::<bool>(),
        deeds in proptest::collection::vec(deed(), 0..40),
    ) {
        let settings = Settings { next, ..settings() };
        let mut stage = if open {
            Stage::ready(settings, &["PIPELINING", "LIMITS RCPTMAX=2"])
        } else {
            Stage::new(settings)
        };
        let mut given = 0;
        let mut came_back = 0;
        for deed in deeds {
            match deed {
                Deed::Says(octets) => stage.says_octets(&octets),
                Deed::Begin(count) => {
                    given += count;
                    let recipients = ["a@x", "b@x", "c@x"];
                    let transaction = transaction(&recipients[..count]);
                    let content = if pulled { Content::Pulled } else { transaction.content.clone() };
                    stage.is_told(Input::Begin(Transaction { content, ..transaction }))
                }
                Deed::Body(piece) if stage.wants_body => stage.is_told(Input::Body(&piece)),
                Deed::BodyEnd if stage.wants_body => stage.is_told(Input::BodyEnd),
                Deed::Body(_) | Deed::BodyEnd => continue,
                Deed::Takes(octets) => {
                    stage.takes = octets;
                    stage.is_told(Input::Written(0))
                }
                Deed::TlsStarted => stage.is_told(Input::TlsStarted("TLS")),
                Deed::Closed => stage.is_told(Input::Closed),
                Deed::TimedOut => stage.is_told(Input::TimedOut),
                Deed::Quit => stage.is_told(Input::Quit),
            };
        }
        stage.is_told(Input::Closed);
        for report in stage.reports {
            came_back += report.results.len() + report.not_attempted.len();
        }
        prop_assert!(stage.closed);
        prop_assert_eq!(given, came_back);
    }
}
