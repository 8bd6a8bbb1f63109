create table placeholder_0002 (x integer);
