-- Whose a workflow is, and with it its runs, questions and messages: they are found through it, so there is one place that
-- says so, and a run's start and end write nothing more.
--
-- `owner`: a user; null is the operator. `shared`: the least role that sees it (0 = viewer, 1 = operator, 2 = editor, 3 = admin);
-- null is nobody but its owner and admins. What was here before is the operator's, and everybody's to see.
ALTER TABLE workflow ADD COLUMN owner BLOB;
ALTER TABLE workflow ADD COLUMN shared INTEGER CHECK (shared BETWEEN 0 AND 3);
UPDATE workflow SET shared = 0;
