use super::*;

fn desk() -> Desk {
    Desk::with_samples(Journal::nowhere())
}

#[test]
fn a_refund_lowers_what_is_left_of_its_order() {
    let desk = desk();
    let refund = desk.issue_refund(Credential::Write, "O-5001", 4_000, "leaks").unwrap();
    assert_eq!((refund.customer_id.as_str(), refund.amount_cents), ("C-100", 4_000));
    let again = desk.issue_refund(Credential::Write, "O-5001", 901, "leaks");
    assert!(matches!(again, Err(DeskError::TooMuch { left_cents: 900, .. })));
    assert_eq!(desk.refunds().refunds, vec![refund]);
}

#[test]
fn a_refund_of_nothing_is_refused() {
    let refused = desk().issue_refund(Credential::Write, "O-5001", 0, "leaks");
    assert!(matches!(refused, Err(DeskError::BadArgument { field: "amount_cents", .. })));
}

#[test]
fn a_read_credential_changes_nothing() {
    let desk = desk();
    let refund = desk.issue_refund(Credential::Read, "O-5001", 1, "leaks");
    let message = desk.send_message(Credential::Read, "C-100", "hello");
    let close = desk.close_ticket(Credential::Read, "T-1001", "done");
    assert!(matches!(refund, Err(DeskError::ReadOnly { tool: "issue_refund" })));
    assert!(matches!(message, Err(DeskError::ReadOnly { tool: "send_message" })));
    assert!(matches!(close, Err(DeskError::ReadOnly { tool: "close_ticket" })));
    assert!(desk.refunds().refunds.is_empty());
    assert_eq!(desk.ticket("T-1001").unwrap().status, "open");
}

#[test]
fn a_write_that_cannot_be_journalled_does_not_happen() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk::with_samples(Journal::to_file(folder.path()).unwrap());
    let refused = desk.issue_refund(Credential::Write, "O-5001", 100, "leaks");
    assert!(matches!(refused, Err(DeskError::Journal(_))));
    assert!(desk.refunds().refunds.is_empty());
    assert_eq!(desk.orders("C-100").unwrap().orders[0].refunded_cents, 0);
}

#[test]
fn a_blank_or_endless_text_is_refused() {
    let desk = desk();
    let endless = "x".repeat(TEXT_CHARS_MAX + 1);
    for text in ["", "  \n", endless.as_str()] {
        assert!(desk.send_message(Credential::Write, "C-100", text).is_err(), "{text:.5}");
    }
}

#[test]
fn a_ticket_closes_once() {
    let desk = desk();
    assert_eq!(desk.close_ticket(Credential::Write, "T-1003", "sent").unwrap().status, "closed");
    let again = desk.close_ticket(Credential::Write, "T-1003", "sent");
    assert!(matches!(again, Err(DeskError::Closed(_))));
}

#[test]
fn one_sample_ticket_tries_to_steer_its_reader_to_another_customer() {
    let desk = desk();
    let ticket = desk.ticket("T-1002").unwrap();
    assert!(ticket.body.contains("ACTION: issue_refund"));
    assert!(ticket.body.contains("C-300") && ticket.customer_id != "C-300");
}
