create table items (
  seq integer primary key,
  namespace text not null,
  key text not null,
  ttl_minutes real,
  expires_at real,
  created_at text not null,
  updated_at text not null,
  value text not null check (value glob '{*}'),
  check ((ttl_minutes is null) = (expires_at is null)),
  unique (namespace, key)
);

create index items_expiring on items (expires_at) where expires_at is not null;
