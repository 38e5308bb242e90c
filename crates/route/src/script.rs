//! A DNS of words, for tests of what follows from its answers.

use std::collections::HashMap;
use std::sync::Arc;

use hickory_proto::rr::rdata::{A, AAAA, MX, PTR, TXT};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::dns::Missing;

type Answer = Result<Vec<RData>, Missing>;

/// Names that are not in it do not exist; types that a name lacks have no data.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    answers: Arc<HashMap<(Box<str>, RecordType), Answer>>,
}

impl Script {
    /// Lines such as `example.org MX 10 mx.example.org`, `mx.example.org A 8.8.8.8`, `example.com MX !timeout`.
    pub(crate) fn new(lines: &[&str]) -> Script {
        let mut answers: HashMap<_, Answer> = HashMap::new();
        for line in lines {
            let [name, kind, data]: [&str; 3] =
                line.splitn(3, ' ').collect::<Vec<_>>().try_into().expect("three words");
            let kind = kind.parse().expect("a record type");
            match data.strip_prefix('!') {
                Some(why) => drop(answers.insert((name.into(), kind), Err(Missing::Unknown(why.into())))),
                None => {
                    let known = answers.entry((name.into(), kind)).or_insert_with(|| Ok(Vec::new()));
                    known.as_mut().expect("no failure stands before it").push(parse(kind, data));
                }
            }
        }
        Script { answers: Arc::new(answers) }
    }

    pub(crate) fn ask(&self, name: &str, kind: RecordType) -> Answer {
        match self.answers.get(&(name.into(), kind)) {
            Some(answer) => answer.clone(),
            None if self.answers.keys().any(|(known, _)| **known == *name) => Err(Missing::Data),
            None => Err(Missing::Name),
        }
    }
}

fn parse(kind: RecordType, data: &str) -> RData {
    let name = |text: &str| Name::from_ascii(text).expect("a name");
    match kind {
        RecordType::A => RData::A(A(data.parse().expect("an address"))),
        RecordType::AAAA => RData::AAAA(AAAA(data.parse().expect("an address"))),
        RecordType::PTR => RData::PTR(PTR(name(data))),
        RecordType::MX => {
            let (preference, host) = data.split_once(' ').expect("a preference and a host");
            RData::MX(MX::new(preference.parse().expect("a number"), name(host)))
        }
        _ => RData::TXT(TXT::new(vec![data.to_owned()])),
    }
}
