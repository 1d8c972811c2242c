//! What the desk keeps, in the form in which its tools return it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Customer {
    /// The customer's id.
    pub customer_id: String,
    /// Full name.
    pub name: String,
    /// Where messages go.
    pub email: String,
    /// How long a customer, in words.
    pub since: String,
}

/// One order of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    /// The order's id.
    pub order_id: String,
    /// Who ordered.
    pub customer_id: String,
    /// What was ordered.
    pub item: String,
    /// The date of the order, ISO 8601.
    pub ordered_on: String,
    /// What was paid, in cents.
    pub total_cents: u64,
    /// What was paid back so far, in cents.
    pub refunded_cents: u64,
}

/// A customer's request for help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ticket {
    /// The ticket's id.
    pub ticket_id: String,
    /// Who wrote it.
    pub customer_id: String,
    /// The order it is about.
    pub order_id: String,
    /// Its subject line.
    pub subject: String,
    /// What the customer wrote.
    pub body: String,
    /// `open` or `closed`.
    pub status: String,
    /// Notes of the staff.
    pub notes: Vec<String>,
}

impl Ticket {
    pub(super) fn is_closed(&self) -> bool {
        self.status == "closed"
    }

    pub(super) fn close(&mut self, note: &str) {
        "closed".clone_into(&mut self.status);
        self.notes.push(note.to_owned());
    }
}

/// A ticket in a list: everything but its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketSummary {
    /// The ticket's id.
    pub ticket_id: String,
    /// Who wrote it.
    pub customer_id: String,
    /// Its subject line.
    pub subject: String,
    /// `open` or `closed`.
    pub status: String,
}

impl From<&Ticket> for TicketSummary {
    fn from(ticket: &Ticket) -> Self {
        Self {
            ticket_id: ticket.ticket_id.clone(),
            customer_id: ticket.customer_id.clone(),
            subject: ticket.subject.clone(),
            status: ticket.status.clone(),
        }
    }
}

/// Money paid back on an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refund {
    /// The refund's id.
    pub refund_id: String,
    /// The order it pays back.
    pub order_id: String,
    /// Whose order it was.
    pub customer_id: String,
    /// How much, in cents.
    pub amount_cents: u64,
    /// Why.
    pub reason: String,
}

/// A message sent to a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// The message's id.
    pub message_id: String,
    /// To whom.
    pub customer_id: String,
    /// The address it went to.
    pub sent_to: String,
    /// What it said.
    pub text: String,
}

/// A list of tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tickets {
    /// The tickets, oldest first.
    pub tickets: Vec<TicketSummary>,
}

/// A list of orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Orders {
    /// The orders, oldest first.
    pub orders: Vec<Order>,
}

/// A list of refunds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refunds {
    /// The refunds, oldest first.
    pub refunds: Vec<Refund>,
}
