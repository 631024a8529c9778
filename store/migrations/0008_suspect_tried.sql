-- Which processes tried a suspect, each once: with only the last one known, two that take turns at a queue, because
-- their connections break, would be counted again and again, and neither has died.
--
-- What was counted so far is forgotten; a message that kills is counted anew within a few deliveries.

alter table suspect
    drop column worker,
    drop column workers,
    add column tried uuid[] not null default '{}';
