use base::{Address, Domain};

/// An address that is taken reads back as itself, has one canonical form, and can be written into a command.
pub fn addresses(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(domain) = Domain::parse(text) {
        let again = Domain::parse(domain.as_str());
        assert_eq!(again.as_ref(), Ok(&domain), "a domain reads back");
        assert!(domain.ascii().is_ascii(), "{domain} has A-labels");
    }
    let Ok(address) = Address::parse(text) else { return };
    assert_eq!(Address::parse(address.as_str()).as_ref(), Ok(&address), "an address reads back");
    assert!(!address.as_str().contains(['\r', '\n', '\0']), "{address:?} stays in its line");
    assert!(address.local_part().len() <= base::address::LOCAL_PART_OCTETS_MAX);
    let canonical = address.canonical();
    let again = Address::parse(&canonical).unwrap_or_else(|error| panic!("{canonical:?} is none any more: {error}"));
    assert_eq!(again.canonical(), canonical, "one canonical form");
    // In a command it is the same address.
    let command = format!("MAIL FROM:<{}> SMTPUTF8", address.as_str());
    match smtp::command::parse_command(command.as_bytes()) {
        Ok(smtp::command::Command::Mail(mail)) => assert_eq!(mail.sender.as_ref(), Some(&address)),
        other => panic!("{command:?} became {other:?}"),
    }
}
