//! Which IP addresses a user-named URL may reach: global unicast, and the exceptions that the operator gave.
//!
//! Sources: IANA's special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its updates). An address
//! that carries an IPv4 address inside (mapped, NAT64, 6to4, ISATAP) is judged by that one as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 networks that are not global unicast, with the name that an error gives them.
const V4: &[(Ipv4Net, &str)] = &[
    (v4([0, 0, 0, 0], 8), "\"this network\""),
    (v4([10, 0, 0, 0], 8), "private"),
    (v4([100, 64, 0, 0], 10), "shared (carrier-grade NAT)"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    // The platform service of Azure: globally assigned, answered by the host.
    (v4([168, 63, 129, 16], 32), "cloud metadata"),
    (v4([169, 254, 0, 0], 16), "link-local (cloud metadata)"),
    (v4([172, 16, 0, 0], 12), "private"),
    (v4([192, 0, 0, 0], 24), "reserved for protocols"),
    (v4([192, 0, 2, 0], 24), "documentation"),
    (v4([192, 88, 99, 0], 24), "6to4 relay"),
    (v4([192, 168, 0, 0], 16), "private"),
    (v4([198, 18, 0, 0], 15), "benchmarking"),
    (v4([198, 51, 100, 0], 24), "documentation"),
    (v4([203, 0, 113, 0], 24), "documentation"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([240, 0, 0, 0], 4), "reserved or broadcast"),
];

/// Networks inside 2000::/3 that are not ordinary global unicast.
const V6: &[(Ipv6Net, &str)] = &[
    // Teredo, ORCHID, benchmarking and other protocol assignments.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "reserved for protocols"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "documentation"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "documentation"),
];

const V6_NAMES: &[(Ipv6Net, &str)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "private (unique local)"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast"),
];

const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4(octets: [u8; 4], len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]), len)
}

const fn v6(s: [u16; 8], len: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), len)
}

/// The rule for addresses: global unicast or explicitly allowed.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    allowed: Vec<IpNet>,
}

/// A network in the list of exceptions that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not a network such as 10.0.0.0/8 or fd00::/8")]
pub struct BadCidr {
    pub value: String,
}

impl FromStr for AddressPolicy {
    type Err = BadCidr;

    /// Parses a comma-separated list of networks; empty: global unicast only.
    fn from_str(list: &str) -> Result<Self, BadCidr> {
        let networks = list.split(',').map(str::trim).filter(|item| !item.is_empty());
        let parse = |item: &str| item.parse().map_err(|_| BadCidr { value: item.to_owned() });
        Ok(Self { allowed: networks.map(parse).collect::<Result<_, _>>()? })
    }
}

impl AddressPolicy {
    /// Why `address` must not be reached; `None` when it may.
    pub fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        // A mapped address reaches the IPv4 host, so the exceptions for that host hold as well.
        let address = address.to_canonical();
        if self.allowed.iter().any(|network| network.contains(&address)) {
            return None;
        }
        match address {
            IpAddr::V4(address) => refuse_v4(address),
            IpAddr::V6(address) => refuse_v6(address),
        }
    }
}

fn refuse_v4(address: Ipv4Addr) -> Option<&'static str> {
    V4.iter().find(|(network, _)| network.contains(&address)).map(|(_, name)| *name)
}

fn refuse_v6(address: Ipv6Addr) -> Option<&'static str> {
    if NAT64.contains(&address) {
        let [.., high, low] = address.segments();
        return refuse_v4(embedded(high, low));
    }
    if !GLOBAL_UNICAST.contains(&address) {
        let named = V6_NAMES.iter().find(|(network, _)| network.contains(&address));
        return Some(named.map_or("not global unicast", |(_, name)| *name));
    }
    if let Some((_, name)) = V6.iter().find(|(network, _)| network.contains(&address)) {
        return Some(name);
    }
    match address.segments() {
        [0x2002, high, low, ..] => refuse_v4(embedded(high, low)),
        // ISATAP: the tunnel ends at the IPv4 address in the interface identifier.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => refuse_v4(embedded(high, low)),
        _ => None,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_global_unicast_is_reached() {
        let cases = [
            ("1.1.1.1", None),
            ("151.101.1.6", None),
            ("100.63.255.255", None),
            ("100.128.0.0", None),
            ("172.15.0.1", None),
            ("172.32.0.1", None),
            ("2606:4700::1111", None),
            ("2a00:1450:4001::200e", None),
            ("64:ff9b::1.1.1.1", None),
            ("2002:0101:0101::1", None),
            ("::ffff:1.1.1.1", None),
            ("0.0.0.0", Some("\"this network\"")),
            ("10.96.0.1", Some("private")),
            ("100.64.0.1", Some("shared (carrier-grade NAT)")),
            ("100.100.100.200", Some("shared (carrier-grade NAT)")),
            ("127.0.0.1", Some("loopback")),
            ("127.255.255.254", Some("loopback")),
            ("168.63.129.16", Some("cloud metadata")),
            ("169.254.169.254", Some("link-local (cloud metadata)")),
            ("172.16.0.1", Some("private")),
            ("172.31.255.255", Some("private")),
            ("192.0.0.192", Some("reserved for protocols")),
            ("192.168.1.1", Some("private")),
            ("198.19.0.1", Some("benchmarking")),
            ("224.0.0.1", Some("multicast")),
            ("255.255.255.255", Some("reserved or broadcast")),
            ("::", Some("not global unicast")),
            ("::1", Some("loopback")),
            ("::127.0.0.1", Some("not global unicast")),
            ("::ffff:127.0.0.1", Some("loopback")),
            ("::ffff:169.254.169.254", Some("link-local (cloud metadata)")),
            ("64:ff9b::169.254.169.254", Some("link-local (cloud metadata)")),
            ("64:ff9b::10.0.0.1", Some("private")),
            ("64:ff9b:1::1.1.1.1", Some("not global unicast")),
            ("2002:7f00:0001::1", Some("loopback")),
            ("2002:a9fe:a9fe::1", Some("link-local (cloud metadata)")),
            ("2001:0:1::1", Some("reserved for protocols")),
            ("2001:db8::1", Some("documentation")),
            ("2600::5efe:192.168.0.1", Some("private")),
            ("2600::200:5efe:10.0.0.1", Some("private")),
            ("fe80::1", Some("link-local")),
            ("fd00:ec2::254", Some("private (unique local)")),
            ("fec0::1", Some("not global unicast")),
            ("ff02::1", Some("multicast")),
            ("3fff::1", Some("documentation")),
            ("5f00::1", Some("not global unicast")),
        ];
        let policy = AddressPolicy::default();
        for (address, want) in cases {
            assert_eq!(policy.refusal(address.parse().unwrap()), want, "{address}");
        }
    }

    #[test]
    fn exceptions_open_exactly_their_networks() {
        let policy: AddressPolicy = " 10.1.0.0/16, fd00::/64 ,".parse().unwrap();
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7", "1.1.1.1"] {
            assert_eq!(policy.refusal(address.parse().unwrap()), None, "{address}");
        }
        for address in ["10.2.0.1", "fd00:0:0:1::7", "127.0.0.1", "64:ff9b::10.1.2.3"] {
            assert!(policy.refusal(address.parse().unwrap()).is_some(), "{address}");
        }
        let bad = "10.0.0.0/8,everything".parse::<AddressPolicy>().unwrap_err();
        assert_eq!(bad, BadCidr { value: "everything".into() });
    }

    proptest! {
        /// However an IPv4 address is wrapped, the wrapping reaches nothing that the address itself may not.
        #[test]
        fn wrapping_never_opens_an_address(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = v4.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            let policy = AddressPolicy::default();
            let bare = policy.refusal(v4.into());
            for wrapped in [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2600, 1, 2, 3, 0, 0x5efe, high, low),
            ] {
                prop_assert_eq!(policy.refusal(wrapped.into()), bare, "{} in {}", v4, wrapped);
            }
            prop_assert!(policy.refusal(v4.to_ipv6_compatible().into()).is_some());
        }

        /// The table agrees with the standard library wherever that one has an opinion.
        #[test]
        fn agrees_with_the_standard_library(bits in any::<u32>(), high in any::<u64>(), low in any::<u64>()) {
            let policy = AddressPolicy::default();
            let v4 = Ipv4Addr::from_bits(bits);
            if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_documentation() || v4.is_broadcast() || v4.is_unspecified() {
                prop_assert!(policy.refusal(v4.into()).is_some(), "{}", v4);
            }
            let v6 = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
            if v6.is_multicast() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback() {
                prop_assert!(policy.refusal(v6.into()).is_some(), "{}", v6);
            }
        }
    }
}
