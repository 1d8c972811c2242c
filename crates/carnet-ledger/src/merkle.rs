//! The Merkle tree of RFC 6962, as an append-only frontier.

use aws_lc_rs::digest;

/// A node of the tree.
pub(crate) type Hash = [u8; 32];

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}

/// The hash of a leaf: SHA-256 of 0x00 and its bytes.
pub(crate) fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[0], leaf])
}

/// The hash of an inner node: SHA-256 of 0x01 and both children.
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// The root of the empty tree: SHA-256 of nothing.
pub(crate) fn empty_root() -> Hash {
    sha256(&[])
}

/// The roots of the perfect subtrees a tree consists of, largest first: all that is needed to
/// append to it and to know its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        // As many peaks merge as the size has trailing ones, like a carry.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root of the tree so far.
    pub(crate) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }

    /// The frontier of a tree from its right edge as tiles keep it: `levels[l]` holds the hashes of
    /// the unfinished tile at level `l`, each over 256^l leaves.
    pub(crate) fn from_levels(levels: &[Vec<Hash>]) -> Self {
        let mut size = 0;
        let mut peaks = Vec::new();
        for (level, hashes) in levels.iter().enumerate().rev() {
            let mut rest = hashes.as_slice();
            while !rest.is_empty() {
                let width = 1 << rest.len().ilog2();
                let (peak, more) = rest.split_at_checked(width).unwrap_or((rest, &[]));
                peaks.push(perfect_root(peak));
                rest = more;
            }
            size += (hashes.len() as u64) << (8 * level);
        }
        Self { size, peaks }
    }
}

/// The root over a power of two of hashes.
pub(crate) fn perfect_root(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    hashes.iter().for_each(|hash| frontier.push(*hash));
    frontier.root()
}

/// The inclusion proof of leaf `index` in a tree of `size`, from `subtree(start, end)`, which gives
/// the root over those leaves. RFC 6962, section 2.1.1; hashes from the leaf upwards.
pub(crate) fn inclusion<E>(
    index: u64,
    size: u64,
    mut subtree: impl FnMut(u64, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let (mut start, mut end) = (0, size);
    let mut out = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            out.push(subtree(middle, end)?);
            end = middle;
        } else {
            out.push(subtree(start, middle)?);
            start = middle;
        }
    }
    out.reverse();
    Ok(out)
}

/// The root that an inclusion proof leads to; `None` when the proof has the wrong length.
pub(crate) fn included_root(index: u64, size: u64, leaf: Hash, proof: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    // The path from the root, true where the leaf is on the left.
    let (mut start, mut end) = (0, size);
    let mut lefts = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        lefts.push(index < middle);
        if index < middle {
            end = middle;
        } else {
            start = middle;
        }
    }
    if lefts.len() != proof.len() {
        return None;
    }
    let up = lefts.iter().rev().zip(proof);
    Some(up.fold(
        leaf,
        |node, (left, other)| {
            if *left { node_hash(&node, other) } else { node_hash(other, &node) }
        },
    ))
}

/// The largest power of two below `leaves` (at least 2).
pub(crate) fn split(leaves: u64) -> u64 {
    1 << (leaves.saturating_sub(1).max(1)).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::hex;
    use proptest::prelude::*;

    /// The eight leaves every RFC 6962 implementation is tried with, and the roots of the trees of
    /// the first n of them.
    const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    /// The definition of RFC 6962, section 2.1, word for word.
    fn naive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            more => {
                let (left, right) = more.split_at(split(more.len() as u64) as usize);
                node_hash(&naive(left), &naive(right))
            }
        }
    }

    fn numbered(count: u64) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn the_published_roots_of_rfc_6962_come_out() {
        assert_eq!(
            hex(&empty_root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let mut frontier = Frontier::default();
        for (leaf, root) in LEAVES.iter().zip(ROOTS) {
            frontier.push(leaf_hash(leaf));
            assert_eq!(hex(&frontier.root()), root);
        }
    }

    #[test]
    fn every_size_up_to_600_agrees_with_the_recursive_definition() {
        let leaves = numbered(600);
        let mut frontier = Frontier::default();
        for size in 0..600 {
            assert_eq!(frontier.root(), naive(&leaves[..size]), "size {size}");
            frontier.push(leaves[size]);
        }
    }

    proptest! {
        #[test]
        fn an_inclusion_proof_leads_to_the_root_and_to_no_other(
            size in 1u64..300, at in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()
        ) {
            let leaves = numbered(size);
            let index = at.index(size as usize) as u64;
            let range = |a: u64, b: u64| Ok::<_, ()>(naive(&leaves[a as usize..b as usize]));
            let mut proof = inclusion(index, size, range).unwrap();
            let leaf = leaves[index as usize];
            prop_assert_eq!(included_root(index, size, leaf, &proof), Some(naive(&leaves)));
            prop_assert_eq!(included_root(index, size, leaf, &[&proof[..], &[leaf]].concat()), None);
            if !proof.is_empty() {
                let at = flip.index(proof.len());
                proof[at][0] ^= 1;
                prop_assert_ne!(included_root(index, size, leaf, &proof), Some(naive(&leaves)));
            }
        }
    }
}
