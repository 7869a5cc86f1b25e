//! Cases about the order of lists: each column, both ways, page by page, with equals in it.

use super::super::*;
use super::case::{On, same, told};
use crate::port::{Way, WorkflowFilter, WorkflowOrder, WorkflowPlace};

/// Names, and when each was made and changed; two were made, and two changed, at one moment.
const WORKFLOWS: [(&str, u32, u32); 5] =
    [("elm", 4, 9), ("ash", 4, 7), ("oak", 2, 9), ("yew", 6, 6), ("fir", 1, 8)];
/// How each column shows them, upwards; equals by their ids, which count up as above.
const ORDERS: [(WorkflowOrder, [&str; 5]); 3] = [
    (WorkflowOrder::Name, ["ash", "elm", "fir", "oak", "yew"]),
    (WorkflowOrder::CreatedAt, ["fir", "oak", "elm", "ash", "yew"]),
    (WorkflowOrder::UpdatedAt, ["yew", "ash", "fir", "elm", "oak"]),
];

pub fn workflows_are_listed_by_each_column(on: &On) -> Result<(), String> {
    for (number, (name, made, changed)) in (1..).zip(WORKFLOWS) {
        let (id, name) = (workflow_id(number), name.to_owned());
        let source = [&name, ": 1"].concat();
        let (possession, idempotency) = (Possession::HOUSE, None);
        let new =
            Op::WorkflowInsert { id, name: name.clone(), source, at: at(made), possession, idempotency };
        let source = [&name, ": 2"].concat();
        let next = Op::WorkflowVersion { id, name, source, at: at(changed) };
        // Each in a write of its own: what a batch makes is not there yet when its other changes are checked.
        on.write(run_id(0), vec![], vec![new]).map_err(told)?;
        on.write(run_id(0), vec![], vec![next]).map_err(told)?;
    }
    for (by, names) in ORDERS {
        for way in [Way::Up, Way::Down] {
            for limit in 1..=6 {
                let mut expected = names.to_vec();
                if way == Way::Down {
                    expected.reverse();
                }
                same(walked(on, by, way, limit)?, expected.iter().map(|name| (*name).to_owned()).collect())
                    .map_err(|why| format!("{by:?} {way:?}, {limit} a page: {why}"))?;
            }
        }
    }
    Ok(())
}

fn walked(on: &On, by: WorkflowOrder, way: Way, limit: u32) -> Result<Vec<String>, String> {
    let (mut names, mut past) = (Vec::new(), None);
    loop {
        let page = on.0.workflows(&Scope::All, &WorkflowFilter { by, way, past, limit }).map_err(told)?;
        same(page.total, WORKFLOWS.len() as u64)?;
        names.extend(page.items.iter().map(|one| one.workflow.name.clone()));
        past = page.items.last().map(|one| WorkflowPlace::of(&one.workflow, by));
        if !page.more {
            return Ok(names);
        }
    }
}

pub fn workflows_are_listed_with_their_runs(on: &On) -> Result<(), String> {
    let (id, name) = (created(run_id(1)), "water".to_owned());
    let RecordBody::RunCreated(made) = &id.body else { return Err("it does not begin so".to_owned()) };
    for (id, name) in [(made.workflow, name), (workflow_id(9), "never".to_owned())] {
        let (source, possession) = ([&name, ": 1"].concat(), Possession::HOUSE);
        let new = Op::WorkflowInsert { id, name, source, at: at(1), possession, idempotency: None };
        on.write(run_id(0), vec![], vec![new]).map_err(told)?;
    }
    on.finish(1)?;
    for number in 2..=4 {
        on.begin(number)?;
    }
    let filter = WorkflowFilter { limit: 9, ..WorkflowFilter::default() };
    let page = on.0.workflows(&Scope::All, &filter).map_err(told)?;
    let newest = on.0.run(&Scope::All, run_id(4)).map_err(told)?.map(|run| run.row.created_at);
    let seen: Vec<_> =
        page.items.iter().map(|one| (one.workflow.name.as_str(), one.runs, one.last_run_at)).collect();
    same(seen, vec![("never", 0, None), ("water", 4, newest)])
}
