-- Roles of PostgreSQL, each with no more than it needs. Run it as a superuser in the database of Nexus, before the first
-- migration or later, and as often as you like:
--
--     psql --set ON_ERROR_STOP=1 --file deploy/postgres_roles.sql nexus
--
-- nexus_owner  owns the tables: for `manage.py migrate` only
-- nexus_app    reads and writes rows: for web, workers and relay
-- nexus_read   reads rows: for dashboards. Messages are not encrypted, so it reads all of them
--
-- They have no password yet and so cannot log in over the network: \password nexus_app

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['nexus_owner', 'nexus_app', 'nexus_read'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', name);
        END IF;
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO nexus_owner, nexus_app, nexus_read', current_database());
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tableowner <> 'nexus_owner' LOOP
        EXECUTE format('ALTER TABLE public.%I OWNER TO nexus_owner', name);
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO nexus_owner;
GRANT USAGE ON SCHEMA public TO nexus_app, nexus_read;

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO nexus_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO nexus_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO nexus_read;

-- The same for what migrations make later.
ALTER DEFAULT PRIVILEGES FOR ROLE nexus_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO nexus_app;
ALTER DEFAULT PRIVILEGES FOR ROLE nexus_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO nexus_app;
ALTER DEFAULT PRIVILEGES FOR ROLE nexus_owner IN SCHEMA public GRANT SELECT ON TABLES TO nexus_read;
