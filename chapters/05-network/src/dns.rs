//! DNS messages: as much of them as a small resolver reads and writes itself.
//!
//! ```text
//! id  flags  questions  answers  authorities  additional     header: six numbers of 16 bits
//! 3 web 7 harbour 0   type  class                            question: labels with their lengths
//! name  type  class  lifetime  length  data                  records: answers and the others
//! ```
//!
//! We read the question and the size that EDNS allows for an answer, and write answers of our own. What goes to
//! another server and comes back from it stays as it is, byte by byte: so record types that nobody had thought
//! of when this was written go through. See RFC 1035 section 4, RFC 6891 (EDNS).
//!
//! Invariant: whatever bytes come in, nothing here panics or loops; a name in a question is never compressed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The types of record that we answer ourselves.
pub const A: u16 = 1;
/// A name that belongs to an address.
pub const PTR: u16 = 12;
/// An IPv6 address.
pub const AAAA: u16 = 28;
/// Every type that there is.
pub const ANY: u16 = 255;

/// How a question was answered: the last four bits of the flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// There is such a name; perhaps without a record of this type.
    NoError = 0,
    /// The question cannot be read.
    FormErr = 1,
    /// Nobody could be asked.
    ServFail = 2,
    /// There is no such name.
    NxDomain = 3,
    /// A kind of request that we do not know.
    NotImp = 4,
}

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;

const HEADER: usize = 12;
/// The longest answer over UDP for who does not say otherwise.
const SHORT: usize = 512;
/// What we say ourselves; as much as fits into one packet everywhere.
const OUR_SIZE: u16 = 1232;
const OPT: u16 = 41;
const IN: u16 = 1;

/// One question, read.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// The whole message.
    pub bytes: &'a [u8],
    /// The name in lower case, without the dot at its end.
    pub name: String,
    /// The type of record that is wanted.
    pub kind: u16,
    /// Where the question ends.
    end: usize,
    /// The size that EDNS names, if the asker speaks it.
    edns: Option<u16>,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address: A or AAAA.
    Address(IpAddr),
    /// A name: PTR.
    Name(String),
}

// ANCHOR: read
impl Query<'_> {
    /// Reads a message from somebody who asks.
    ///
    /// # Errors
    /// The answer for who asks wrongly; none for what is no question, or two resolvers could answer each other
    /// for ever.
    pub fn parse(bytes: &[u8]) -> Result<Query<'_>, Option<Vec<u8>>> {
        let flags =
            number(bytes, 2).filter(|flags| flags & RESPONSE == 0 && bytes.len() >= HEADER).ok_or(None)?;
        let refuse = |code| Err(Some(header(bytes, flags, code)));
        if flags & OPCODE != 0 {
            return refuse(Code::NotImp);
        }
        match question(bytes) {
            Some((name, kind, end)) => Ok(Query { bytes, name, kind, end, edns: edns(bytes, end) }),
            None => refuse(Code::FormErr),
        }
    }
}

/// The one question of a message: name, type, and where it ends.
fn question(bytes: &[u8]) -> Option<(String, u16, usize)> {
    let (mut name, mut at) = (String::new(), HEADER);
    loop {
        let length = usize::from(*bytes.get(at)?);
        let label = bytes.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        match length {
            0 => break,
            // 64 and more would be a pointer to another place, and in a question there is none before it.
            1..=63 if at - HEADER < 255 => name += &String::from_utf8_lossy(label).to_ascii_lowercase(),
            _ => return None,
        }
        name.push('.');
    }
    name.pop();
    let (questions, kind, class) = (number(bytes, 4)?, number(bytes, at)?, number(bytes, at + 2)?);
    (questions == 1 && class == IN).then_some((name, kind, at + 4))
}

/// The size in an EDNS record: the first behind the question, where clients put it.
fn edns(bytes: &[u8], end: usize) -> Option<u16> {
    let only_additional = number(bytes, 6)? == 0 && number(bytes, 8)? == 0 && number(bytes, 10)? > 0;
    let root = *bytes.get(end)? == 0 && number(bytes, end + 1)? == OPT;
    if only_additional && root { number(bytes, end + 3) } else { None }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
// ANCHOR_END: read

// ANCHOR: write
/// A header that answers that of `query`: its id, its wish for recursion, no records.
fn header(query: &[u8], flags: u16, code: Code) -> Vec<u8> {
    let flags = flags & (OPCODE | RECURSION_DESIRED) | RESPONSE | RECURSION_AVAILABLE | code as u16;
    let mut answer = query[..2].to_vec();
    answer.extend(flags.to_be_bytes());
    answer.resize(HEADER, 0);
    answer
}

impl Query<'_> {
    /// An answer of our own. It may be forgotten at once: the next moment the name may be another's.
    pub fn answer(&self, code: Code, records: &[Record]) -> Vec<u8> {
        let mut answer = header(self.bytes, number(self.bytes, 2).unwrap_or(0), code);
        answer[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        self.add_question(&mut answer);
        for record in records {
            let (kind, data) = record.data();
            // The name stands in the question: a pointer to byte 12.
            answer.extend([0xc0, HEADER as u8]);
            answer.extend([kind, IN, 0, 0, data.len() as u16].map(u16::to_be_bytes).concat());
            answer.extend(data);
        }
        self.add_edns(&mut answer);
        answer
    }

    /// The answer as it may go out by UDP: where it is too long, only its head, which says so.
    pub fn fit(&self, answer: Vec<u8>) -> Vec<u8> {
        if answer.len() <= self.edns.map_or(SHORT, |size| SHORT.max(size.into())) {
            return answer;
        }
        let mut head = answer[..4].to_vec();
        head[2] |= (TRUNCATED >> 8) as u8;
        head.resize(HEADER, 0);
        self.add_question(&mut head);
        self.add_edns(&mut head);
        head
    }

    fn add_question(&self, answer: &mut Vec<u8>) {
        answer[5] = 1;
        answer.extend(&self.bytes[HEADER..self.end]);
    }

    fn add_edns(&self, answer: &mut Vec<u8>) {
        if self.edns.is_some() {
            answer[11] = 1;
            answer.push(0);
            answer.extend([OPT, OUR_SIZE, 0, 0, 0].map(u16::to_be_bytes).concat());
        }
    }
}

impl Record {
    fn data(&self) -> (u16, Vec<u8>) {
        match self {
            Record::Address(IpAddr::V4(address)) => (A, address.octets().to_vec()),
            Record::Address(IpAddr::V6(address)) => (AAAA, address.octets().to_vec()),
            Record::Name(name) => {
                let label = |label: &str| [&[label.len() as u8], label.as_bytes()].concat();
                (PTR, name.split('.').chain([""]).flat_map(label).collect())
            }
        }
    }
}
// ANCHOR_END: write

// ANCHOR: match
impl Query<'_> {
    /// The message with another id, as we send it to another server.
    pub fn with_id(&self, id: [u8; 2]) -> Vec<u8> {
        [&id, &self.bytes[2..]].concat()
    }

    /// Whether `answer` answers this question, sent with this id. Anybody can send us something.
    pub fn is_answered_by(&self, answer: &[u8], id: [u8; 2]) -> bool {
        let asked = &self.bytes[HEADER..self.end];
        answer.starts_with(&id)
            && number(answer, 2).is_some_and(|flags| flags & RESPONSE != 0)
            && answer.get(HEADER..self.end).is_some_and(|question| question.eq_ignore_ascii_case(asked))
    }
}

/// Whether an answer is only the head of one.
pub fn is_truncated(answer: &[u8]) -> bool {
    number(answer, 2).is_some_and(|flags| flags & TRUNCATED != 0)
}

/// Whether a server could not or would not answer (SERVFAIL, REFUSED): another may.
pub fn is_failure(answer: &[u8]) -> bool {
    number(answer, 2).is_none_or(|flags| [2, 5].contains(&(flags & 15)))
}
// ANCHOR_END: match

/// The address in a name such as `2.0.208.10.in-addr.arpa`; see RFC 1035 section 3.5, RFC 3596 section 2.5.
pub fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let octets: Vec<&str> = digits.rsplit('.').collect();
        return octets.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let digits: Vec<&str> = name.strip_suffix(".ip6.arpa")?.rsplit('.').collect();
    if digits.len() != 32 || digits.iter().any(|digit| digit.len() != 1) {
        return None;
    }
    u128::from_str_radix(&digits.concat(), 16).ok().map(|number| Ipv6Addr::from(number).into())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE, rdata::OPT as Opt};

    /// Another implementation asks, and reads our answers.
    pub(crate) fn ask(name: &str, kind: TYPE, edns: Option<u16>) -> Vec<u8> {
        let mut packet = Packet::new_query(4711);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions.push(Question::new(Name::new_unchecked(name), kind.into(), CLASS::IN.into(), false));
        *packet.opt_mut() =
            edns.map(|udp_packet_size| Opt { opt_codes: Vec::new(), udp_packet_size, version: 0 });
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn a_question_is_read() {
        let bytes = ask("Web.HARBOUR", TYPE::AAAA, Some(1400));
        let query = Query::parse(&bytes).unwrap();
        assert_eq!((query.name.as_str(), query.kind, query.edns), ("web.harbour", AAAA, Some(1400)));
        let bytes = ask("", TYPE::NS, None);
        let query = Query::parse(&bytes).unwrap();
        assert_eq!((query.name.as_str(), query.kind, query.edns), ("", 2, None));
    }

    #[test]
    fn another_implementation_reads_our_answers() {
        for edns in [None, Some(4096)] {
            let bytes = ask("web", TYPE::A, edns);
            let query = Query::parse(&bytes).unwrap();
            let records = [
                Record::Address("10.208.0.2".parse().unwrap()),
                Record::Address("fd00::2".parse().unwrap()),
                Record::Name("web.harbour".to_owned()),
            ];
            let answer = query.answer(Code::NoError, &records);
            assert!(query.is_answered_by(&answer, [18, 103]) && !query.is_answered_by(&answer, [0, 0]));
            let packet = Packet::parse(&answer).unwrap();
            assert_eq!((packet.id(), packet.rcode(), packet.answers.len()), (4711, RCODE::NoError, 3));
            assert!(packet.has_flags(
                PacketFlag::RESPONSE | PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE
            ));
            assert!(packet.answers.iter().all(|record| record.name.to_string() == "web"));
            assert!(format!("{:?}", packet.answers[2].rdata).contains("web.harbour"));
            assert_eq!(packet.opt().map(|opt| opt.udp_packet_size), edns.map(|_| OUR_SIZE));
        }
    }

    #[test]
    fn what_is_too_long_for_udp_is_cut_and_says_so() {
        let records = vec![Record::Address("10.208.0.2".parse().unwrap()); 40];
        for (edns, cut) in [(None, true), (Some(100), true), (Some(600), true), (Some(1232), false)] {
            let bytes = ask("web", TYPE::A, edns);
            let query = Query::parse(&bytes).unwrap();
            let answer = query.fit(query.answer(Code::NoError, &records));
            let packet = Packet::parse(&answer).unwrap();
            assert_eq!(packet.has_flags(PacketFlag::TRUNCATION), cut, "{edns:?}");
            assert_eq!((is_truncated(&answer), packet.answers.len()), (cut, if cut { 0 } else { 40 }));
            assert_eq!(packet.opt().is_some(), edns.is_some());
        }
    }

    #[test]
    fn no_bytes_hurt() {
        let good = ask("web.harbour", TYPE::A, Some(1232));
        for length in 0..good.len() {
            match Query::parse(&good[..length]) {
                Err(None) => assert!(length < HEADER),
                Err(Some(answer)) => assert_eq!((answer.len(), answer[3] & 15), (HEADER, 1)),
                Ok(_) => assert!(length >= HEADER + 17),
            }
        }
        // Each byte, everything it can be.
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = byte;
                if let Ok(query) = Query::parse(&bytes) {
                    query.fit(query.answer(Code::NxDomain, &[]));
                }
            }
        }
        let mut pointer = good.clone();
        pointer[12..14].copy_from_slice(&[0xc0, 12]);
        assert!(Query::parse(&pointer).is_err_and(|answer| answer.is_some()));
        let endless = [&good[..12], &[1, b'a'].repeat(400)].concat();
        assert!(Query::parse(&endless).is_err());
        let response = Query::parse(&good).unwrap().answer(Code::NoError, &[]);
        assert!(Query::parse(&response).is_err_and(|answer| answer.is_none()), "answers are not answered");
    }

    #[test]
    fn a_type_without_a_name_is_read_as_well() {
        let mut bytes = ask("web", TYPE::A, None);
        bytes[17..19].copy_from_slice(&52_u16.to_be_bytes());
        assert!(Packet::parse(&bytes).is_err(), "simple-dns refuses it, and a resolver must not");
        assert_eq!(Query::parse(&bytes).unwrap().kind, 52, "TLSA");
    }

    #[test]
    fn reverse_names_are_addresses() {
        assert_eq!(reverse("2.0.208.10.in-addr.arpa"), Some("10.208.0.2".parse().unwrap()));
        let six = format!("2.{}d.f.ip6.arpa", "0.".repeat(29));
        assert_eq!(reverse(&six), Some("fd00::2".parse().unwrap()));
        for name in
            ["in-addr.arpa", "0.208.10.in-addr.arpa", "x.0.208.10.in-addr.arpa", "2.ip6.arpa", "web", ""]
        {
            assert_eq!(reverse(name), None, "{name}");
        }
    }
}
