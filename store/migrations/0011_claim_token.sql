-- Who made the claim of a mail that stands, or made the one before: a number that its mailer drew for this attempt. What
-- that mailer writes about the attempt names it, and so does a mailer that takes back a claim whose answer was lost.

alter table email
    add column claim_token uuid;
