//! What a server says it can do (RFC 5321 §4.1.1.1), as far as we make use of it.

/// The EHLO keywords of one server. Empty after HELO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 2034.
    pub enhanced_status_codes: bool,
    /// RFC 1870. `Some(0)`: the extension without a limit.
    pub size_octets_max: Option<u64>,
    /// RFC 4954, those that we speak.
    pub auth_plain: bool,
    pub auth_login: bool,
    /// RFC 9422 RCPTMAX: recipients in one transaction.
    pub recipients_max: Option<usize>,
    /// RFC 9422 MAILMAX: transactions in one connection.
    pub transactions_max: Option<u32>,
}

impl Capabilities {
    /// Reads the lines of a reply to EHLO, parted by `\n`. The first one holds the server's name.
    /// What is unknown or malformed is as if it was not said.
    pub fn parse(lines: &str) -> Capabilities {
        let mut capabilities = Capabilities::default();
        for line in lines.split('\n').skip(1) {
            // Some old servers write `AUTH=PLAIN LOGIN`.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            if let Some(keyword) = words.next() {
                let own = |word: &str| keyword.eq_ignore_ascii_case(word);
                if own("LIMITS") {
                    capabilities.limits(line);
                } else {
                    capabilities.keyword(own, words);
                }
            }
        }
        capabilities
    }

    fn keyword<'a>(&mut self, is: impl Fn(&str) -> bool, mut words: impl Iterator<Item = &'a str>) {
        if is("PIPELINING") {
            self.pipelining = true;
        } else if is("8BITMIME") {
            self.eight_bit_mime = true;
        } else if is("SMTPUTF8") {
            self.smtputf8 = true;
        } else if is("DSN") {
            self.dsn = true;
        } else if is("STARTTLS") {
            self.starttls = true;
        } else if is("ENHANCEDSTATUSCODES") {
            self.enhanced_status_codes = true;
        } else if is("SIZE") {
            self.size_octets_max = Some(words.next().and_then(|word| word.parse().ok()).unwrap_or(0));
        } else if is("AUTH") {
            for mechanism in words {
                self.auth_plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                self.auth_login |= mechanism.eq_ignore_ascii_case("LOGIN");
            }
        }
    }

    /// `LIMITS RCPTMAX=20 MAILMAX=5` (RFC 9422 §3). A limit of zero makes no sense and is ignored.
    fn limits(&mut self, line: &str) {
        for (name, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
            let value: Option<u32> = value.parse().ok().filter(|value| *value > 0);
            if name.eq_ignore_ascii_case("RCPTMAX") {
                self.recipients_max = value.and_then(|value| usize::try_from(value).ok());
            } else if name.eq_ignore_ascii_case("MAILMAX") {
                self.transactions_max = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_read_in_any_case_and_order() {
        let read = Capabilities::parse(
            "mx.example.org at your service\nsize 35882577\n8BitMime\nSTARTTLS\nENHANCEDSTATUSCODES\nPIPELINING\n\
             SMTPUTF8\nDSN\nAUTH XOAUTH2 LOGIN plain\nLIMITS RCPTMAX=20 MAILMAX=5 RCPTDOMAINMAX=1\nCHUNKING",
        );
        assert_eq!(
            read,
            Capabilities {
                pipelining: true,
                eight_bit_mime: true,
                smtputf8: true,
                dsn: true,
                starttls: true,
                enhanced_status_codes: true,
                size_octets_max: Some(35_882_577),
                auth_plain: true,
                auth_login: true,
                recipients_max: Some(20),
                transactions_max: Some(5),
            }
        );
    }

    #[test]
    fn nonsense_says_nothing() {
        assert_eq!(Capabilities::parse("PIPELINING DSN"), Capabilities::default(), "the first line is a name");
        let read = Capabilities::parse("mx\n\n   \nSIZE many\nLIMITS RCPTMAX=0 MAILMAX=-1 =\nPIPELININGX\nAUTH");
        assert_eq!(read, Capabilities { size_octets_max: Some(0), ..Capabilities::default() });
        assert!(Capabilities::parse("mx\nAUTH=LOGIN").auth_login);
    }
}
