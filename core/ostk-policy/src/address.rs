//! Whether an IP address is one of the public internet.
//!
//! The gate decides by it whether a connection may be made: a name that an agent may reach must not lead to this
//! machine, its network or a cloud's metadata service. A pure table of the IANA special-purpose address registries
//! (RFC 6890 and its updates, as of 2025); nothing is looked up here.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 block: network, prefix length.
type Block4 = ([u8; 4], u32);
/// An IPv6 block: network, prefix length.
type Block6 = ([u16; 8], u32);

/// IPv4 blocks that are not globally reachable, or reach what is no single host.
const NOT_PUBLIC_4: &[Block4] = &[
    ([0, 0, 0, 0], 8),        // "this network", RFC 791; 0.0.0.0 is this machine
    ([10, 0, 0, 0], 8),       // private use, RFC 1918
    ([100, 64, 0, 0], 10),    // shared address space behind carriers' NAT, RFC 6598; some clouds' metadata
    ([127, 0, 0, 0], 8),      // loopback, RFC 1122
    ([168, 63, 129, 16], 32), // a public address that one cloud uses for its metadata (Azure's WireServer)
    ([169, 254, 0, 0], 16),   // link-local, RFC 3927; most clouds' metadata
    ([172, 16, 0, 0], 12),    // private use, RFC 1918
    ([192, 0, 0, 0], 24),     // IETF protocol assignments, RFC 6890
    ([192, 0, 2, 0], 24),     // documentation, RFC 5737
    ([192, 31, 196, 0], 24),  // AS112, RFC 7535
    ([192, 52, 193, 0], 24),  // AMT, RFC 7450
    ([192, 88, 99, 0], 24),   // 6to4 relays, withdrawn by RFC 7526
    ([192, 168, 0, 0], 16),   // private use, RFC 1918
    ([192, 175, 48, 0], 24),  // AS112, RFC 7534
    ([198, 18, 0, 0], 15),    // benchmarking, RFC 2544
    ([198, 51, 100, 0], 24),  // documentation, RFC 5737
    ([203, 0, 113, 0], 24),   // documentation, RFC 5737
    ([224, 0, 0, 0], 4),      // multicast, RFC 5771
    ([240, 0, 0, 0], 4),      // reserved, RFC 1112; 255.255.255.255 is broadcast
];

/// Where IPv6 addresses of the internet come from, RFC 4291. All else is loopback, local, multicast or unassigned.
const GLOBAL_UNICAST_6: Block6 = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Blocks of the global unicast space that are special.
const NOT_PUBLIC_6: &[Block6] = &[
    // Protocol assignments, RFC 2928: Teredo, benchmarking, ORCHID. The few public services in it (anycast DNS,
    // AMT) are no hosts that an agent is granted.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32), // documentation, RFC 3849
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),      // 6to4, RFC 3056: holds any IPv4 address
    ([0x2620, 0x004f, 0x8000, 0, 0, 0, 0, 0], 48), // AS112, RFC 7534
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),      // documentation, RFC 9637
];

/// Prefix under which NAT64 reaches IPv4 addresses, RFC 6052.
const NAT64: Block6 = ([0x0064, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// Whether `address` belongs to a host of the public internet.
///
/// False for this machine (loopback, unspecified), private and link-local networks, unique local addresses, carriers'
/// shared space, the metadata services of clouds, multicast, broadcast, benchmarking, documentation, reserved and
/// unassigned blocks. An IPv6 address that holds an IPv4 address is judged by it where the address is reached as such
/// (IPv4-mapped `::ffff:0:0/96`, NAT64 `64:ff9b::/96`); the obsolete ways to hold one (IPv4-compatible, 6to4, Teredo)
/// and local NAT64 prefixes (`64:ff9b:1::/48`) are never public.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_4(address),
        IpAddr::V6(address) => is_public_6(address),
    }
}

fn is_public_4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    !NOT_PUBLIC_4.iter().any(|(network, length)| {
        let network = Ipv4Addr::from(*network).to_bits();
        (bits ^ network).leading_zeros() >= *length
    })
}

fn is_public_6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_4(mapped);
    }
    if is_in_6(address, &NAT64) {
        let [.., a, b, c, d] = address.octets();
        return is_public_4(Ipv4Addr::new(a, b, c, d));
    }
    is_in_6(address, &GLOBAL_UNICAST_6) && !NOT_PUBLIC_6.iter().any(|block| is_in_6(address, block))
}

fn is_in_6(address: Ipv6Addr, (network, length): &Block6) -> bool {
    (address.to_bits() ^ Ipv6Addr::from(*network).to_bits()).leading_zeros() >= *length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(texts: &[&str]) -> Vec<(String, bool)> {
        texts.iter().map(|text| ((*text).to_owned(), is_public(text.parse().unwrap()))).collect()
    }

    fn all(texts: &[&str], expected: bool) {
        for (text, public) in judged(texts) {
            assert_eq!(public, expected, "{text}");
        }
    }

    #[test]
    fn hosts_of_the_internet_are_public() {
        all(&["1.1.1.1", "8.8.8.8", "93.184.215.14", "140.82.121.4", "223.255.255.255"], true);
        all(&["2606:4700:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "2620:fe::fe"], true);
    }

    #[test]
    fn this_machine_and_its_networks_are_not() {
        all(&["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "::", "::1"], false);
        all(
            &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255"],
            false,
        );
        all(&["fe80::1", "febf::1", "fec0::1", "fc00::1", "fdff::1", "fd00:ec2::254"], false);
    }

    #[test]
    fn the_metadata_services_of_clouds_are_not() {
        all(&["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"], false);
        all(&["::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1"], false);
    }

    #[test]
    fn special_blocks_are_not() {
        all(
            &["192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "192.88.99.1"],
            false,
        );
        all(&["224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"], false);
        all(
            &["ff02::1", "2001:db8::1", "2001:2::1", "2001:20::1", "3fff::1", "100::1", "5f00::1", "4000::1"],
            false,
        );
    }

    #[test]
    fn the_neighbours_of_special_blocks_are_public() {
        all(&["9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"], true);
        all(&["128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"], true);
        all(&["192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0"], true);
        all(&["2001:200::1", "2001:db7::1", "2001:db9::1", "2003::1", "3ffe::1"], true);
    }

    #[test]
    fn an_ipv4_address_in_an_ipv6_address_does_not_get_around_the_table() {
        all(&["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0.0.0.0", "64:ff9b::10.0.0.1"], false);
        all(&["::ffff:8.8.8.8", "64:ff9b::8.8.8.8"], true);
        // Obsolete ways: IPv4-compatible, 6to4, Teredo, local NAT64, IPv4-translated.
        all(&["::127.0.0.1", "::8.8.8.8", "2002:7f00:1::1", "2002:808:808::1", "2001:0:7f00:1::1"], false);
        all(&["64:ff9b:1::8.8.8.8", "::ffff:0:8.8.8.8"], false);
    }
}
