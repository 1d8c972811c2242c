//! Whose child a process is, as the kernel says. What Carnet starts, such as an upstream server,
//! is never a person.

use std::path::Path;

/// Where the kernel tells of processes.
const PROCESSES: &str = "/proc";
/// How far up the parents of a process are followed. A longer line is not understood.
const ANCESTORS_MAX: usize = 128;

/// Whether process `pid` was started by this process, or by what it started. `None` where that
/// cannot be told: the process is gone, hidden from us, or its line has no end.
pub(crate) fn descends_from_us(pid: i32) -> Option<bool> {
    descends(Path::new(PROCESSES), pid, i32::try_from(std::process::id()).ok()?)
}

fn descends(processes: &Path, pid: i32, from: i32) -> Option<bool> {
    if pid == from {
        return Some(false);
    }
    let mut pid = pid;
    for _ in 0..ANCESTORS_MAX {
        pid = parent_of(processes, pid)?;
        match pid {
            _ if pid == from => return Some(true),
            // The first process, or one outside of what this one can see.
            0 | 1 => return Some(false),
            _ => {}
        }
    }
    None
}

/// The parent of `pid`. The name, which a process chooses, cannot pass for the line: the kernel
/// escapes its line breaks.
fn parent_of(processes: &Path, pid: i32) -> Option<i32> {
    let status = std::fs::read(processes.join(pid.to_string()).join("status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(dir: &Path, pid: i32, parent: i32) {
        let process = dir.join(pid.to_string());
        std::fs::create_dir_all(&process).unwrap();
        let status = format!("Name:\ta\\nPPid:\\t1\nUmask:\t0022\nPPid:\t{parent}\n");
        std::fs::write(process.join("status"), status).unwrap();
    }

    #[test]
    fn a_child_of_a_child_descends_and_a_stranger_does_not() {
        let dir = tempfile::tempdir().unwrap();
        for (pid, parent) in [(10, 1), (11, 10), (12, 11), (20, 1), (21, 20), (30, 0)] {
            process(dir.path(), pid, parent);
        }
        let of = |pid| descends(dir.path(), pid, 10);
        assert_eq!([of(11), of(12)], [Some(true); 2]);
        assert_eq!([of(10), of(20), of(21), of(30)], [Some(false); 4]);
        assert_eq!(of(99), None, "what is gone cannot be told");
    }

    #[test]
    fn a_line_without_an_end_is_not_understood() {
        let dir = tempfile::tempdir().unwrap();
        for pid in 100..400 {
            process(dir.path(), pid, pid - 1);
        }
        process(dir.path(), 99, 10);
        assert_eq!(descends(dir.path(), 399, 10), None);
        assert_eq!(descends(dir.path(), 120, 10), Some(true));
    }
}
