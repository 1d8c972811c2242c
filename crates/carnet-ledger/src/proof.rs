//! Proof files (C2SP tlog-proof): one leaf's inclusion, checkable offline.

use std::path::Path;

use crate::disk::Disk;
use crate::error::LedgerError;
use crate::merkle::{Hash, included_root, inclusion, leaf_hash, perfect_root, split};
use crate::note::{Checkpoint, VerifyingKey};
use crate::text::{base64, decimal, from_base64};
use crate::tiles::{TILE_WIDTH, TileName, read_tile};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// Longest proof of any tree.
const HASHES_MAX: usize = 64;

/// Makes the proof file of a leaf from the published tiles.
pub(crate) fn prove(
    disk: &dyn Disk,
    dir: &Path,
    checkpoint: &Checkpoint,
    index: u64,
) -> Result<String, LedgerError> {
    let size = checkpoint.size;
    if index >= size {
        return Err(LedgerError::NoSuchLeaf { index, size });
    }
    let tree = Tree { disk, dir, size };
    let hashes = inclusion(index, size, |start, end| tree.root(start, end))?;
    let mut out = format!("{FIRST_LINE}\nindex {index}\n");
    for hash in hashes {
        out += &base64(&hash);
        out.push('\n');
    }
    out.push('\n');
    out += &checkpoint.note;
    Ok(out)
}

/// Checks a proof file: that `key` signed its checkpoint, and that `leaf`, its exact stored bytes,
/// is in that log at the index returned with the checkpoint.
pub fn check_proof(
    proof: &str,
    leaf: &[u8],
    key: &VerifyingKey,
) -> Result<(u64, Checkpoint), LedgerError> {
    let refused = |why: &str| LedgerError::note("the proof", why);
    let (head, note) = proof.split_once("\n\n").ok_or_else(|| refused("it has no checkpoint"))?;
    let checkpoint = Checkpoint::open(note, key)?;
    let mut lines = head.split('\n');
    if lines.next() != Some(FIRST_LINE) {
        return Err(refused("it does not begin as a proof of version 1"));
    }
    let mut line = lines.next().unwrap_or_default();
    if line.starts_with("extra ") {
        line = lines.next().unwrap_or_default();
    }
    let index = line.strip_prefix("index ").and_then(decimal);
    let index = index.ok_or_else(|| refused("it names no index"))?;
    let hashes: Option<Vec<Hash>> = lines
        .take(HASHES_MAX + 1)
        .map(|line| from_base64(line).and_then(|bytes| Hash::try_from(bytes.as_slice()).ok()))
        .collect();
    let hashes = hashes.ok_or_else(|| refused("a hash does not read"))?;
    let root = included_root(index, checkpoint.size, leaf_hash(leaf), &hashes);
    if root != Some(checkpoint.root) {
        return Err(refused("it does not lead from this leaf to the signed root"));
    }
    Ok((index, checkpoint))
}

/// The published tree, read from its tiles.
struct Tree<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    size: u64,
}

impl Tree<'_> {
    /// The root over the leaves from `start` to `end`, a subtree of the tree.
    fn root(&self, start: u64, end: u64) -> Result<Hash, LedgerError> {
        let leaves = end - start;
        if leaves.is_power_of_two() {
            return self.perfect(start, leaves);
        }
        let middle = start + split(leaves);
        let (left, right) = (self.root(start, middle)?, self.root(middle, end)?);
        Ok(crate::merkle::node_hash(&left, &right))
    }

    /// The root of a perfect subtree: one tile row has all that is needed.
    fn perfect(&self, start: u64, leaves: u64) -> Result<Hash, LedgerError> {
        let level = (leaves.ilog2() / 8) as usize;
        let unit = 1_u64 << (8 * level);
        let (first, count) = (start / unit, (leaves / unit) as usize);
        let number = first / TILE_WIDTH as u64;
        let at = (first % TILE_WIDTH as u64) as usize;
        let whole = (self.size / unit) - number * TILE_WIDTH as u64;
        let width = whole.min(TILE_WIDTH as u64) as usize;
        let name = TileName { level: Some(level), number, width };
        let missing = || LedgerError::damaged(&self.dir.join(name.path()), 0, "a tile is missing");
        let tile = read_tile(self.disk, self.dir, name)?.ok_or_else(missing)?;
        tile.get(at..at + count).map(perfect_root).ok_or_else(missing)
    }
}
