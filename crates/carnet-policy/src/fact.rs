//! A policy may read only facts that are there.
//!
//! Carnet knows the teams and attributes of the principal and of the operation, and of nobody
//! else: of the agent or subject named in the context it knows the name. Cedar would answer
//! `context.task.subject_user in Team::"x"` with a quiet *false*, and a forbid resting on it would
//! never fire. Such a policy is refused instead.

use carnet_core::{ActionName, AgentName, ResourceName, UserName};
use cedar_policy::pst::{BinaryOp, Clause, Expr, Policy as Tree, Var};
use cedar_policy::{EntityUid, Policy};

use crate::vocabulary::HOUSE_ID;

/// The deepest expression that is followed. The scan bounds what a text can reach.
const DEPTH_MAX: usize = 1024;

/// Why a policy is refused: what, and what to do about it.
pub(crate) type FactFault = (String, Option<String>);

/// Everything in `policy` that asks for a fact Carnet does not have.
pub(crate) fn missing_facts(policy: &Policy) -> Vec<FactFault> {
    let mut faults: Vec<FactFault> =
        policy.entity_literals().iter().filter_map(name_fault).collect();
    match policy.to_pst() {
        Ok(Tree::Static(tree)) => {
            for clause in tree.body().clauses() {
                let (Clause::When(expr) | Clause::Unless(expr)) = clause;
                visit(expr, 0, &mut faults);
            }
        }
        _ => faults.push(("cannot be understood".to_owned(), None)),
    }
    faults.sort();
    faults.dedup();
    faults
}

/// A literal entity whose id no entity of its type can have.
fn name_fault(uid: &EntityUid) -> Option<FactFault> {
    let id = uid.id().unescaped();
    let rule = match uid.type_name().basename() {
        "Agent" => id.parse::<AgentName>().err().map(|e| e.to_string()),
        "User" => id.parse::<UserName>().err().map(|e| e.to_string()),
        "Resource" => id.parse::<ResourceName>().err().map(|e| e.to_string()),
        "Operation" => id.parse::<ActionName>().err().map(|e| e.to_string()),
        "Team" => id.is_empty().then(|| "a team has a name".to_owned()),
        "House" => (id != HOUSE_ID).then(|| format!("the one house is `{HOUSE_ID}`")),
        "Arguments" | "Numbers" => Some("arguments are made for each request".to_owned()),
        _ => None,
    };
    let what = format!("can never match `{uid}`: {}", rule?);
    let suggestion = match uid.type_name().basename() {
        "House" => Some(format!("write `Carnet::House::\"{HOUSE_ID}\"`")),
        "Resource" if id.parse::<ActionName>().is_ok() => {
            Some(format!("write `resource == Carnet::Operation::\"{id}\"`"))
        }
        "Operation" if id.parse::<ResourceName>().is_ok() => {
            Some(format!("write `resource in Carnet::Resource::\"{id}\"`"))
        }
        _ => None,
    };
    Some((what, suggestion))
}

fn visit(expr: &Expr, depth: usize, faults: &mut Vec<FactFault>) {
    if depth > DEPTH_MAX {
        return faults.push(("is too deep to be understood".to_owned(), None));
    }
    let mut next = |expr: &Expr| visit(expr, depth + 1, faults);
    match expr {
        Expr::Literal(_) | Expr::Var(_) => {}
        Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } => next(expr),
        Expr::BinaryOp { op, left, right } => {
            next(left);
            next(right);
            faults.extend(operand_fault(*op, left));
        }
        Expr::GetAttr { expr, .. } => {
            next(expr);
            faults.extend(attribute_fault(expr, &[]));
        }
        Expr::HasAttr { expr, attrs } => {
            next(expr);
            let names: Vec<&str> = attrs.iter().map(|name| name.as_str()).collect();
            let inner = names.split_last().map(|(_, inner)| inner).unwrap_or_default();
            faults.extend(attribute_fault(expr, inner));
        }
        Expr::Is { expr, in_expr, .. } => {
            next(expr);
            if let Some(above) = in_expr {
                next(above);
                faults.extend(membership_fault(expr));
            }
        }
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            [cond, then_expr, else_expr].into_iter().for_each(|e| next(e));
        }
        Expr::Set(items) => items.iter().for_each(|item| next(item)),
        Expr::Record(members) => members.values().for_each(|member| next(member)),
        _ => faults.push((format!("`{expr}` is not understood"), None)),
    }
}

fn operand_fault(op: BinaryOp, left: &Expr) -> Option<FactFault> {
    match op {
        BinaryOp::In => membership_fault(left),
        BinaryOp::HasTag | BinaryOp::GetTag => tag_fault(left),
        _ => None,
    }
}

fn membership_fault(of: &Expr) -> Option<FactFault> {
    if matches!(of, Expr::Var(Var::Principal | Var::Action | Var::Resource)) {
        return None;
    }
    Some((
        format!(
            "`{of} in …` can never be known: Carnet knows the groups of `principal`, `action` and `resource` only"
        ),
        Some("compare it with `==`, or ask `principal in …`".to_owned()),
    ))
}

fn tag_fault(of: &Expr) -> Option<FactFault> {
    if path(of).is_some_and(|path| matches!(path.as_str(), "context.text" | "context.number")) {
        return None;
    }
    Some((
        format!("`{of}` has no tags"),
        Some("arguments are in `context.text` and `context.number`".to_owned()),
    ))
}

/// Whether `of`, and then each of `inner`, is something whose attributes Carnet knows.
fn attribute_fault(of: &Expr, inner: &[&str]) -> Option<FactFault> {
    let mut at = path(of);
    let mut known = at.as_deref().is_some_and(has_attributes);
    for name in inner {
        at = at.map(|path| format!("{path}.{name}"));
        known &= at.as_deref().is_some_and(has_attributes);
    }
    if known {
        return None;
    }
    let of = at.unwrap_or_else(|| of.to_string());
    Some((
        format!(
            "the attributes of `{of}` are not known: Carnet knows those of `principal` and `resource` only"
        ),
        Some("compare it with `==`, or read the attribute of `principal` or `resource`".to_owned()),
    ))
}

fn has_attributes(path: &str) -> bool {
    matches!(path, "principal" | "resource" | "context" | "context.task" | "context.approvals")
}

/// `context.task.agent` for the expression that reads it; nothing for any other expression.
fn path(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Var(Var::Principal) => Some("principal".to_owned()),
        Expr::Var(Var::Resource) => Some("resource".to_owned()),
        Expr::Var(Var::Context) => Some("context".to_owned()),
        Expr::GetAttr { expr, attr } => Some(format!("{}.{attr}", path(expr)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(condition: &str) -> Vec<FactFault> {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        missing_facts(&text.parse().unwrap())
    }

    #[test]
    fn facts_that_are_there_may_be_read() {
        for condition in [
            r#"principal in Carnet::Team::"x" && action in Carnet::Action::"call""#,
            r#"resource in Carnet::Resource::"desk" || principal is Carnet::Agent in Carnet::Team::"x""#,
            r#"principal has owner && principal.owner == "team:x" && resource.labels.contains("a")"#,
            r#"context has task && context has task.subject_user && context.task.subject_user == Carnet::User::"ana""#,
            r#"context.text.hasTag("a") && context.text.getTag("a") like "b*" && context.number.getTag("n") < 3"#,
            r#"context.approvals.by.contains(Carnet::User::"ana") && [context.task.agent].contains(principal)"#,
            r#"if context.task.marked then {a: 1} == {a: context.task.depth} else -1 < 2"#,
        ] {
            assert_eq!(faults(condition), [], "{condition}");
        }
    }

    #[test]
    fn facts_that_are_not_there_are_refused() {
        for condition in [
            r#"context.task.agent in Carnet::Team::"x""#,
            r#"context.task.agent is Carnet::Agent in Carnet::Team::"x""#,
            r#"context.task.subject_user in [Carnet::Team::"x"]"#,
            r#"Carnet::User::"ana" in Carnet::Team::"x""#,
            r#"(if context.task.marked then principal else context.task.agent) in Carnet::Team::"x""#,
            r#"context.task.agent.owner == "team:x""#,
            r#"context.task.agent has owner"#,
            r#"context has task.agent.owner"#,
            r#"Carnet::Agent::"a".owner == "team:x""#,
            r#"{a: principal}.a.owner == "team:x""#,
            r#"(if true then context else context).task.marked"#,
            r#"principal.hasTag("a")"#,
            r#"Carnet::Arguments::"request".hasTag("a")"#,
            r#"!(context.task.agent in Carnet::Team::"x")"#,
            r#"[1].contains(if context.task.agent has owner then 1 else 2)"#,
        ] {
            assert_ne!(faults(condition), [], "{condition}");
        }
    }

    #[test]
    fn a_name_that_nothing_can_have_is_refused() {
        for literal in [
            r#"Carnet::Agent::"Support Agent""#,
            r#"Carnet::User::"""#,
            r#"Carnet::Team::"""#,
            r#"Carnet::Resource::"desk.tool.issue_refund""#,
            r#"Carnet::Operation::"desk""#,
            r#"Carnet::House::"carnet""#,
        ] {
            assert_ne!(faults(&format!("principal == {literal}")), [], "{literal}");
        }
        let wrong = faults(r#"resource in Carnet::Resource::"desk.tool.x""#);
        assert_eq!(
            wrong[0].1.as_deref(),
            Some("write `resource == Carnet::Operation::\"desk.tool.x\"`")
        );
    }
}
