-- `next_run_date`: the tick that is next, in UTC and always as long, so that texts sort as moments; null while there is none.
create table crons (
  cron_id text primary key,
  assistant_id text not null references assistants on delete cascade,
  thread_id text references threads on delete cascade,
  user_id text,
  schedule text not null,
  timezone text,
  end_time text,
  next_run_date text,
  enabled integer not null check (enabled in (0, 1)),
  on_run_completed text check (on_run_completed in ('delete', 'keep')),
  metadata text not null,
  payload text not null,
  created_at text not null,
  updated_at text not null
);

create index crons_due on crons (next_run_date) where next_run_date is not null;

create index crons_of_thread on crons (thread_id) where thread_id is not null;

create index crons_of_assistant on crons (assistant_id);
