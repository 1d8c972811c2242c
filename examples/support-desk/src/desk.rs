//! The desk itself: records, the rules for changing them, and the journal of what was changed.

mod journal;
mod record;
mod sample;

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;
use thiserror::Error;

pub use journal::{Journal, JournalError};
pub use record::{
    Customer, Message, Order, Orders, Refund, Refunds, Ticket, TicketSummary, Tickets,
};

use crate::credential::Credential;

/// The longest free text (a message, a reason, a note) the desk keeps, in characters.
pub const TEXT_CHARS_MAX: usize = 2_000;
/// The most messages and refunds the desk keeps before it refuses more.
pub const WRITES_MAX: usize = 10_000;

/// Why the desk did not do what was asked.
#[derive(Debug, Error)]
pub enum DeskError {
    /// No record has this id.
    #[error("there is no {kind} {id}; list or search for one first")]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// The id that nothing has.
        id: String,
    },
    /// The caller's credential may only read.
    #[error("{tool} changes records and this credential may only read; use the write credential")]
    ReadOnly {
        /// The tool that was refused.
        tool: &'static str,
    },
    /// The refund is larger than what is left of the order.
    #[error("order {order_id} has {left_cents} cents left to refund; ask for at most that")]
    TooMuch {
        /// The order.
        order_id: String,
        /// What can still be refunded.
        left_cents: u64,
    },
    /// An argument is empty, zero or too long.
    #[error("{field} must be {expected}")]
    BadArgument {
        /// The argument.
        field: &'static str,
        /// What it must be.
        expected: String,
    },
    /// The ticket was closed before.
    #[error("ticket {0} is closed already; leave it or open a new one")]
    Closed(String),
    /// The desk is full.
    #[error("the desk keeps no more than {WRITES_MAX} writes; restart it")]
    Full,
    /// The journal could not be written, so nothing was done.
    #[error("nothing was done: {0}")]
    Journal(#[from] JournalError),
}

#[derive(Debug)]
struct Records {
    customers: Vec<Customer>,
    orders: Vec<Order>,
    tickets: Vec<Ticket>,
    refunds: Vec<Refund>,
    messages: Vec<Message>,
    journal: Journal,
}

/// All records of one desk. Every write is journalled before it takes effect.
#[derive(Debug)]
pub struct Desk {
    records: Mutex<Records>,
}

impl Desk {
    /// A desk with the sample records, journalling to `journal`.
    #[must_use]
    pub fn with_samples(journal: Journal) -> Self {
        Self {
            records: Mutex::new(Records {
                customers: sample::customers(),
                orders: sample::orders(),
                tickets: sample::tickets(),
                refunds: Vec::new(),
                messages: Vec::new(),
                journal,
            }),
        }
    }

    /// One ticket with its text.
    pub fn ticket(&self, ticket_id: &str) -> Result<Ticket, DeskError> {
        find(&self.lock().tickets, "ticket", ticket_id, |t| &t.ticket_id).cloned()
    }

    /// Every ticket, without its text.
    #[must_use]
    pub fn tickets(&self) -> Tickets {
        Tickets { tickets: self.lock().tickets.iter().map(TicketSummary::from).collect() }
    }

    /// One customer.
    pub fn customer(&self, customer_id: &str) -> Result<Customer, DeskError> {
        find(&self.lock().customers, "customer", customer_id, |c| &c.customer_id).cloned()
    }

    /// The orders of one customer.
    pub fn orders(&self, customer_id: &str) -> Result<Orders, DeskError> {
        let records = self.lock();
        find(&records.customers, "customer", customer_id, |c| &c.customer_id)?;
        let of_customer = records.orders.iter().filter(|o| o.customer_id == customer_id);
        Ok(Orders { orders: of_customer.cloned().collect() })
    }

    /// Every refund issued since the desk started.
    #[must_use]
    pub fn refunds(&self) -> Refunds {
        Refunds { refunds: self.lock().refunds.clone() }
    }

    /// Pays back part or all of an order.
    pub fn issue_refund(
        &self,
        credential: Credential,
        order_id: &str,
        amount_cents: u64,
        reason: &str,
    ) -> Result<Refund, DeskError> {
        require_write(credential, "issue_refund")?;
        check_text("reason", reason)?;
        let mut records = self.lock();
        let Records { orders, refunds, journal, .. } = &mut *records;
        let order = find_mut(orders, "order", order_id, |o| &o.order_id)?;
        let left_cents = order.total_cents.saturating_sub(order.refunded_cents);
        if amount_cents == 0 {
            let expected = "at least 1".to_owned();
            return Err(DeskError::BadArgument { field: "amount_cents", expected });
        }
        if amount_cents > left_cents {
            return Err(DeskError::TooMuch { order_id: order_id.to_owned(), left_cents });
        }
        let refund = Refund {
            refund_id: next_id("R", 9_001, refunds.len())?,
            order_id: order_id.to_owned(),
            customer_id: order.customer_id.clone(),
            amount_cents,
            reason: reason.to_owned(),
        };
        journal.append(credential, "issue_refund", &json!(refund))?;
        order.refunded_cents += amount_cents;
        refunds.push(refund.clone());
        Ok(refund)
    }

    /// Sends a customer a message.
    pub fn send_message(
        &self,
        credential: Credential,
        customer_id: &str,
        text: &str,
    ) -> Result<Message, DeskError> {
        require_write(credential, "send_message")?;
        check_text("text", text)?;
        let mut records = self.lock();
        let Records { customers, messages, journal, .. } = &mut *records;
        let customer = find(customers, "customer", customer_id, |c| &c.customer_id)?;
        let message = Message {
            message_id: next_id("M", 8_001, messages.len())?,
            customer_id: customer_id.to_owned(),
            sent_to: customer.email.clone(),
            text: text.to_owned(),
        };
        journal.append(credential, "send_message", &json!(message))?;
        messages.push(message.clone());
        Ok(message)
    }

    /// Closes a ticket with a note for the file.
    pub fn close_ticket(
        &self,
        credential: Credential,
        ticket_id: &str,
        note: &str,
    ) -> Result<Ticket, DeskError> {
        require_write(credential, "close_ticket")?;
        check_text("note", note)?;
        let mut records = self.lock();
        let Records { tickets, journal, .. } = &mut *records;
        let ticket = find_mut(tickets, "ticket", ticket_id, |t| &t.ticket_id)?;
        if ticket.is_closed() {
            return Err(DeskError::Closed(ticket_id.to_owned()));
        }
        let entry = json!({ "ticket_id": ticket_id, "note": note });
        journal.append(credential, "close_ticket", &entry)?;
        ticket.close(note);
        Ok(ticket.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        // No code that holds the lock panics, and a half-made record is never stored, so a poisoned lock is still good.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn require_write(credential: Credential, tool: &'static str) -> Result<(), DeskError> {
    match credential {
        Credential::Write => Ok(()),
        Credential::Read => Err(DeskError::ReadOnly { tool }),
    }
}

fn check_text(field: &'static str, text: &str) -> Result<(), DeskError> {
    if text.trim().is_empty() || text.chars().count() > TEXT_CHARS_MAX {
        let expected = format!("1 to {TEXT_CHARS_MAX} characters and not blank");
        return Err(DeskError::BadArgument { field, expected });
    }
    Ok(())
}

fn next_id(prefix: &str, first: usize, taken: usize) -> Result<String, DeskError> {
    if taken >= WRITES_MAX {
        return Err(DeskError::Full);
    }
    Ok(format!("{prefix}-{}", first + taken))
}

fn find<'a, T>(
    records: &'a [T],
    kind: &'static str,
    id: &str,
    id_of: impl Fn(&T) -> &String,
) -> Result<&'a T, DeskError> {
    let found = records.iter().find(|record| id_of(record) == id);
    found.ok_or_else(|| DeskError::Unknown { kind, id: id.to_owned() })
}

fn find_mut<'a, T>(
    records: &'a mut [T],
    kind: &'static str,
    id: &str,
    id_of: impl Fn(&T) -> &String,
) -> Result<&'a mut T, DeskError> {
    let found = records.iter_mut().find(|record| id_of(record) == id);
    found.ok_or_else(|| DeskError::Unknown { kind, id: id.to_owned() })
}

#[cfg(test)]
mod tests;
