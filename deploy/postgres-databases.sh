#!/bin/sh
# Run once by PostgreSQL's image on an empty data folder: a database and a role for each tool. The
# register's role may only read and add: its tables belong to the server's owner.
set -eu
for name in prefect mlflow mlflow_users optuna register; do
  variable="$(echo "$name" | tr '[:lower:]' '[:upper:]')_DATABASE_PASSWORD"
  eval "password=\${$variable}"
  owner=$name
  [ "$name" != register ] || owner=lethe
  # The password travels on standard input, never on a command line.
  psql --set ON_ERROR_STOP=1 --username lethe --dbname postgres --quiet <<SQL
CREATE ROLE $name LOGIN PASSWORD '$password';
CREATE DATABASE $name OWNER $owner;
REVOKE ALL ON DATABASE $name FROM PUBLIC;
GRANT CONNECT ON DATABASE $name TO $name;
SQL
done
psql --set ON_ERROR_STOP=1 --username lethe --dbname register --quiet <<SQL
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO register;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO register;
SQL
