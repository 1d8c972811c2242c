//! The task an agent has without anybody opening it: from its standing intent, one for itself and one
//! for each person who vouched for it.

use carnet_core::{Agent, Principal, Reason, TaskId, TaskState, UserName};

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::work::open::OpenTask;

impl Broker {
    /// The agent's open standing task on behalf of `subject`, or its own, opened from its standing intent
    /// where there is none.
    pub(super) async fn standing_task(
        &self,
        agent: &Agent,
        subject: Option<&UserName>,
    ) -> Result<TaskId, BrokerError> {
        let myself = Principal::Agent(agent.name.clone());
        let subject = subject.map_or_else(|| myself.clone(), |it| Principal::User(it.clone()));
        // One at a time: two first calls are one standing task.
        let _lane = self.standing_lanes.enter(&agent.name).await;
        let now = self.now().wall;
        let view = self.view();
        let mut standing = view.snapshot.tasks.values().filter(|view| {
            let task = &view.task;
            task.standing && task.agent == agent.name
        });
        let open =
            standing.clone().find(|view| view.task.subject == subject && view.task.is_live(now));
        if let Some(view) = open {
            return Ok(view.task.id.clone());
        }
        // Opening another would take the doubt for settled: of the subject, or of the agent itself.
        let suspended = standing.find(|view| {
            let task = &view.task;
            let is_theirs = task.subject == subject || task.subject == myself;
            is_theirs && now < task.deadline && task.state == TaskState::Suspended
        });
        if let Some(view) = suspended {
            let id = &view.task.id;
            let detail = format!("{id} is suspended: an operator resumes or closes it");
            return Err(BrokerError::refused(Reason::TaskNotOpen, detail));
        }
        let intent = agent.standing.clone().ok_or_else(|| {
            let detail = format!(
                "{} has no standing intent and named no task: identity alone grants nothing. \
                 Open a task with `carnet task open`",
                agent.name
            );
            BrokerError::refused(Reason::TaskUnknown, detail)
        })?;
        let request = OpenTask {
            agent: agent.name.clone(),
            subject,
            opened_by: myself,
            intent,
            standing: true,
        };
        self.open_vouched(request).await.map(|(task, _)| task)
    }
}
