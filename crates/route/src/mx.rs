//! The choice among MX records (RFC 5321 §5.1, RFC 7505). Pure.

use crate::dns::Mx;

/// A host that may take the mail, its addresses not yet known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) preference: u16,
    pub(crate) host: Box<str>,
    /// It is the domain itself, for want of an MX.
    pub(crate) implicit: bool,
}

/// What a domain's MX records say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exchangers {
    /// It takes no mail.
    Null,
    /// There are some, and none is a host name.
    Bad,
    /// Best first, equals in random order, no host twice. Not empty.
    Some(Vec<Candidate>),
}

pub(crate) fn exchangers(records: Vec<Mx>, rng: &mut fastrand::Rng) -> Exchangers {
    // Beside others a null MX means nothing (RFC 7505 §3).
    if !records.is_empty() && records.iter().all(|record| record.host.is_empty()) {
        return Exchangers::Null;
    }
    let mut records: Vec<Mx> = records.into_iter().filter(|record| is_host_name(&record.host)).collect();
    rng.shuffle(&mut records);
    // The sort is stable: equals keep the random order.
    records.sort_by_key(|record| record.preference);
    let mut candidates: Vec<Candidate> = Vec::with_capacity(records.len());
    for Mx { preference, host } in records {
        if candidates.iter().all(|known| known.host != host) {
            candidates.push(Candidate { preference, host, implicit: false });
        }
    }
    if candidates.is_empty() { Exchangers::Bad } else { Exchangers::Some(candidates) }
}

/// An address in the place of a name is a mistake that RFC 1035 knows no meaning for, and a name with
/// escapes in it belongs to no mail server.
fn is_host_name(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    !numeric && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mx(preference: u16, host: &str) -> Mx {
        Mx { preference, host: host.into() }
    }

    fn hosts(records: Vec<Mx>, seed: u64) -> Vec<String> {
        match exchangers(records, &mut fastrand::Rng::with_seed(seed)) {
            Exchangers::Some(candidates) => candidates.into_iter().map(|candidate| candidate.host.into()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_best_comes_first_and_equals_share_the_load() {
        let records = || vec![mx(20, "backup.example"), mx(10, "a.example"), mx(10, "b.example")];
        let a_first = (0..1000).filter(|seed| hosts(records(), *seed)[0] == "a.example").count();
        assert!((400..=600).contains(&a_first), "{a_first} of 1000");
        assert!((0..100).all(|seed| hosts(records(), seed)[2] == "backup.example"));
    }

    #[test]
    fn a_null_mx_counts_only_when_it_is_alone() {
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(exchangers(vec![mx(0, "")], &mut rng), Exchangers::Null);
        assert_eq!(hosts(vec![mx(0, ""), mx(10, "mx.example")], 1), ["mx.example"]);
    }

    #[test]
    fn addresses_and_nonsense_in_the_place_of_names_are_passed_over() {
        let records =
            vec![mx(1, "192.0.2.1"), mx(2, "\\032x.example"), mx(3, "a b"), mx(4, "mx.example"), mx(5, "mx.example")];
        assert_eq!(hosts(records, 1), ["mx.example"]);
        assert_eq!(exchangers(vec![mx(1, "192.0.2.1")], &mut fastrand::Rng::with_seed(1)), Exchangers::Bad);
    }

    proptest! {
        #[test]
        fn the_order_is_by_preference_and_nobody_is_lost_or_doubled(
            records in proptest::collection::vec((0..5_u16, 0..30_u8), 1..40), seed: u64,
        ) {
            let records: Vec<Mx> = records.into_iter().map(|(p, n)| mx(p, &format!("mx{n}.example"))).collect();
            let Exchangers::Some(chosen) = exchangers(records.clone(), &mut fastrand::Rng::with_seed(seed)) else {
                return Err(TestCaseError::fail("there are host names"));
            };
            prop_assert!(chosen.is_sorted_by_key(|candidate| candidate.preference));
            for record in &records {
                let kept: Vec<_> = chosen.iter().filter(|candidate| candidate.host == record.host).collect();
                prop_assert_eq!(kept.len(), 1);
                let best = records.iter().filter(|other| other.host == record.host).map(|other| other.preference).min();
                prop_assert_eq!(Some(kept[0].preference), best);
            }
        }
    }
}
