-- FileFlux's database and user; run again at every change, it makes what is missing. The owner may make
-- and change tables, as the migrations do, and nothing outside of the database. The password comes apart.
CREATE USER IF NOT EXISTS @USER@;
ALTER USER @USER@ WITH NOCREATEDB NOCREATEROLE NOCONTROLJOB NOCREATELOGIN;
CREATE DATABASE IF NOT EXISTS @DATABASE@;
ALTER DATABASE @DATABASE@ OWNER TO @USER@;
-- Who has no business here may not even connect.
REVOKE ALL ON DATABASE @DATABASE@ FROM public;
REVOKE ALL ON SCHEMA @DATABASE@.public FROM public;
GRANT CREATE, USAGE ON SCHEMA @DATABASE@.public TO @USER@;
ALTER DATABASE @DATABASE@ CONFIGURE ZONE USING gc.ttlseconds = @GC_TTL@;
