-- oldest: 5
-- `next_run_date`: the tick that is next, in UTC and always as long, so that texts sort as moments; null while there is none.
create table crons (
  cron_id text collate "C" primary key,
  assistant_id text collate "C" not null references assistants on delete cascade,
  thread_id text collate "C" references threads on delete cascade,
  user_id text,
  schedule text not null,
  timezone text,
  end_time text collate "C",
  next_run_date text collate "C",
  enabled boolean not null,
  on_run_completed text check (on_run_completed in ('delete', 'keep')),
  metadata text not null,
  payload text not null,
  created_at text collate "C" not null,
  updated_at text collate "C" not null
);

create index crons_due on crons (next_run_date) where next_run_date is not null;

create index crons_of_thread on crons (thread_id) where thread_id is not null;

create index crons_of_assistant on crons (assistant_id);
