//! Removing history: what is long over leaves the store. The ledger keeps what happened.

use carnet_store::{Change, Commit, Expected, Key, Kind, Record};

use crate::broker::Broker;
use crate::clock::made_at;
use crate::error::BrokerError;

/// How long what is over can still be shown from the store: a week. No task lasts longer than a day.
const HISTORY_S: i64 = 7 * 24 * 60 * 60;
/// How many records are removed in one commit.
const REMOVED_MAX: usize = 200;

impl Broker {
    /// Removes tasks, grants, approvals and leases that are long over. Their names tell when they were made.
    pub(crate) async fn prune(&self) -> Result<(), BrokerError> {
        for kind in [Kind::Task, Kind::Grant, Kind::Approval, Kind::Lease] {
            while self.prune_some(kind).await? {}
        }
        Ok(())
    }

    /// Removes some of the oldest, and tells whether there may be more.
    async fn prune_some(&self, kind: Kind) -> Result<bool, BrokerError> {
        let page = self.store.list(kind, None, REMOVED_MAX).await?;
        let listed = page.len();
        // What was written a moment ago is known to be there only once it was followed.
        self.settle_in(self.store.revision().await?).await?;
        let old: Vec<Record> =
            page.into_iter().take_while(|record| self.is_old(&record.key)).collect();
        if old.is_empty() || self.is_holding() {
            return Ok(false);
        }
        let all_old = old.len() == listed;
        let expected = old
            .iter()
            .map(|record| Expected { key: record.key.clone(), revision: Some(record.revision) });
        let commit = Commit {
            expected: expected.collect(),
            changes: old.iter().map(|record| Change::Delete { key: record.key.clone() }).collect(),
            ..Commit::default()
        };
        self.store.commit(commit).await?;
        Ok(all_old)
    }

    /// Whether `key` was made long ago and is of nothing that is still there.
    fn is_old(&self, key: &Key) -> bool {
        let bits = key.id.split_once('_').map(|(_, bits)| u128::from_str_radix(bits, 16));
        let Some(Ok(bits)) = bits else { return false };
        self.now().wall >= made_at(bits).plus_s(HISTORY_S)
            && self.latest().revision_of(key).is_none()
    }
}
