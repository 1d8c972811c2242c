//! What keeps the programs Carnet starts, and others of its uid, out of Carnet's own process.

use anyhow::Context;
use rustix::process::DumpableBehavior;

/// Nobody of the same uid reads this process's memory, environment or files through the kernel, or
/// traces it. Root still may.
pub(crate) fn hide() -> anyhow::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .context("the process could not be closed to others of its uid (PR_SET_DUMPABLE)")
}

/// No program that is started from here gains a right by being set-uid. Threads inherit it, so it
/// is for the first one, before there are others.
pub(crate) fn forgo_privileges() -> anyhow::Result<()> {
    rustix::thread::set_no_new_privs(true)
        .context("rights could not be forgone (PR_SET_NO_NEW_PRIVS)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_closed_to_others_of_its_uid_and_gains_no_rights() {
        let before = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(before, DumpableBehavior::Dumpable);
        hide().unwrap();
        forgo_privileges().unwrap();
        let after = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(after, DumpableBehavior::NotDumpable);
        let told = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.contains("NoNewPrivs:\t1"), "{told}");
    }
}
