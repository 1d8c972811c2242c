//! The disk a run stands on: that it is one, and how long it takes to make bytes durable.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};

/// What is written at a time: a page.
const BLOCK_BYTES: usize = 4096;
/// How many blocks the file has; they are written in turns.
const BLOCKS: u64 = 256;
/// How often a block is made durable.
const SYNCS: u64 = 200;

/// The kind of file system `dir` is on. One in memory is refused: nothing there is durable, and a
/// gateway measured on it would look faster than it is.
pub(super) fn require_real(dir: &Path) -> anyhow::Result<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    let dir = dir.canonicalize().with_context(|| dir.display().to_string())?;
    let kind = kind_of(&mounts, &dir).context("no mounted file system holds it")?;
    if matches!(kind, "tmpfs" | "ramfs") {
        bail!("{} is on {kind}, which is memory: run it on a disk", dir.display());
    }
    Ok(kind.to_owned())
}

/// The kind of the deepest mount that holds `dir`; of two on one place the later hides the other.
fn kind_of<'a>(mounts: &'a str, dir: &Path) -> Option<&'a str> {
    let parsed = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, place, kind) = (words.next()?, words.next()?, words.next()?);
        let place = place.replace("\\040", " ");
        dir.starts_with(&place).then_some((place.len(), kind))
    });
    parsed.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

/// How long `fdatasync` takes in `dir`, in the middle, after overwriting a block of a file that has
/// all its blocks already.
pub(super) fn fdatasync_p50_us(dir: &Path) -> anyhow::Result<f64> {
    let place = dir.join("fdatasync.probe");
    let open = OpenOptions::new().write(true).create(true).truncate(true).open(&place);
    let file = open.with_context(|| place.display().to_string())?;
    let block = [0xA5_u8; BLOCK_BYTES];
    for number in 0..BLOCKS {
        file.write_all_at(&block, number * BLOCK_BYTES as u64)?;
    }
    file.sync_all()?;
    let mut took_us = Vec::new();
    for number in 0..SYNCS {
        file.write_all_at(&block, number % BLOCKS * BLOCK_BYTES as u64)?;
        let began = Instant::now();
        file.sync_data()?;
        took_us.push(began.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(&place)?;
    Ok(super::median(took_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "/dev/vda / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n\
                          /dev/vdb /run/with\\040space xfs rw 0 0\ntmpfs /srv tmpfs rw 0 0\n";

    #[test]
    fn the_deepest_mount_says_what_a_directory_is_on() {
        for (dir, kind) in [
            ("/work", "ext4"),
            ("/run/x", "tmpfs"),
            ("/runner", "ext4"),
            ("/run/with space/x", "xfs"),
            ("/srv", "tmpfs"),
        ] {
            assert_eq!(kind_of(MOUNTS, Path::new(dir)), Some(kind), "{dir}");
        }
    }

    #[test]
    fn memory_is_no_disk() {
        if Path::new("/dev/shm").is_dir() && require_real(Path::new("/proc")).is_ok() {
            let error = require_real(Path::new("/dev/shm"));
            assert!(error.is_err() || !error.unwrap().contains("tmpfs"));
        }
    }
}
