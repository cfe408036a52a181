-- The tables of zed.mysql.sql, as Cinder makes them in PostgreSQL.

CREATE TABLE services (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" serial NOT NULL,
  "host" varchar(255) DEFAULT NULL,
  "binary" varchar(255) DEFAULT NULL,
  "topic" varchar(255) DEFAULT NULL,
  "report_count" integer NOT NULL,
  "disabled" boolean DEFAULT NULL,
  "availability_zone" varchar(255) DEFAULT NULL,
  "disabled_reason" varchar(255) DEFAULT NULL,
  "modified_at" timestamp without time zone DEFAULT NULL,
  "rpc_current_version" varchar(36) DEFAULT NULL,
  "object_current_version" varchar(36) DEFAULT NULL,
  "replication_status" varchar(36) DEFAULT NULL,
  "frozen" boolean DEFAULT NULL,
  "active_backend_id" varchar(255) DEFAULT NULL,
  "cluster_name" varchar(255) DEFAULT NULL,
  "uuid" varchar(36) DEFAULT NULL,
  PRIMARY KEY ("id"),
  UNIQUE ("uuid")
);

CREATE TABLE volumes (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" varchar(36) NOT NULL,
  "ec2_id" varchar(255) DEFAULT NULL,
  "user_id" varchar(255) DEFAULT NULL,
  "project_id" varchar(255) DEFAULT NULL,
  "host" varchar(255) DEFAULT NULL,
  "size" integer DEFAULT NULL,
  "availability_zone" varchar(255) DEFAULT NULL,
  "status" varchar(255) DEFAULT NULL,
  "attach_status" varchar(255) DEFAULT NULL,
  "scheduled_at" timestamp without time zone DEFAULT NULL,
  "launched_at" timestamp without time zone DEFAULT NULL,
  "terminated_at" timestamp without time zone DEFAULT NULL,
  "display_name" varchar(255) DEFAULT NULL,
  "display_description" varchar(255) DEFAULT NULL,
  "provider_location" varchar(256) DEFAULT NULL,
  "provider_auth" varchar(256) DEFAULT NULL,
  "snapshot_id" varchar(36) DEFAULT NULL,
  "volume_type_id" varchar(36) NOT NULL,
  "source_volid" varchar(36) DEFAULT NULL,
  "bootable" boolean DEFAULT NULL,
  "provider_geometry" varchar(255) DEFAULT NULL,
  "_name_id" varchar(36) DEFAULT NULL,
  "encryption_key_id" varchar(36) DEFAULT NULL,
  "migration_status" varchar(255) DEFAULT NULL,
  "replication_status" varchar(255) DEFAULT NULL,
  "replication_extended_status" varchar(255) DEFAULT NULL,
  "replication_driver_data" varchar(255) DEFAULT NULL,
  "consistencygroup_id" varchar(36) DEFAULT NULL,
  "provider_id" varchar(255) DEFAULT NULL,
  "multiattach" boolean DEFAULT NULL,
  "previous_status" varchar(255) DEFAULT NULL,
  "cluster_name" varchar(255) DEFAULT NULL,
  "group_id" varchar(36) DEFAULT NULL,
  "service_uuid" varchar(36) DEFAULT NULL,
  "shared_targets" boolean DEFAULT NULL,
  "use_quota" boolean DEFAULT NULL,
  PRIMARY KEY ("id"),
  FOREIGN KEY ("service_uuid") REFERENCES "services" ("uuid")
);
CREATE INDEX ix_volumes_consistencygroup_id ON volumes ("consistencygroup_id");
CREATE INDEX volumes_service_uuid_idx ON volumes ("service_uuid","deleted");
CREATE INDEX ix_volumes_group_id ON volumes ("group_id");

CREATE TABLE backups (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" varchar(36) NOT NULL,
  "volume_id" varchar(36) NOT NULL,
  "user_id" varchar(255) DEFAULT NULL,
  "project_id" varchar(255) DEFAULT NULL,
  "host" varchar(255) DEFAULT NULL,
  "availability_zone" varchar(255) DEFAULT NULL,
  "display_name" varchar(255) DEFAULT NULL,
  "display_description" varchar(255) DEFAULT NULL,
  "container" varchar(255) DEFAULT NULL,
  "status" varchar(255) DEFAULT NULL,
  "fail_reason" varchar(255) DEFAULT NULL,
  "service_metadata" varchar(255) DEFAULT NULL,
  "service" varchar(255) DEFAULT NULL,
  "size" integer DEFAULT NULL,
  "object_count" integer DEFAULT NULL,
  "parent_id" varchar(36) DEFAULT NULL,
  "temp_volume_id" varchar(36) DEFAULT NULL,
  "temp_snapshot_id" varchar(36) DEFAULT NULL,
  "num_dependent_backups" integer DEFAULT NULL,
  "snapshot_id" varchar(36) DEFAULT NULL,
  "data_timestamp" timestamp without time zone DEFAULT NULL,
  "restore_volume_id" varchar(36) DEFAULT NULL,
  "encryption_key_id" varchar(36) DEFAULT NULL,
  PRIMARY KEY ("id")
);

CREATE TABLE quota_usages (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" serial NOT NULL,
  "project_id" varchar(255) DEFAULT NULL,
  "resource" varchar(300) DEFAULT NULL,
  "in_use" integer NOT NULL,
  "reserved" integer NOT NULL,
  "until_refresh" integer DEFAULT NULL,
  "race_preventer" boolean DEFAULT NULL,
  PRIMARY KEY ("id"),
  UNIQUE ("project_id","resource","race_preventer")
);
CREATE INDEX ix_quota_usages_project_id ON quota_usages ("project_id");
CREATE INDEX quota_usage_project_resource_idx ON quota_usages ("project_id","resource");

CREATE TABLE backup_metadata (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" serial NOT NULL,
  "backup_id" varchar(36) NOT NULL,
  "key" varchar(255) DEFAULT NULL,
  "value" varchar(255) DEFAULT NULL,
  PRIMARY KEY ("id"),
  FOREIGN KEY ("backup_id") REFERENCES "backups" ("id")
);
CREATE INDEX ix_backup_metadata_backup_id ON backup_metadata ("backup_id");

CREATE TABLE volume_metadata (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" serial NOT NULL,
  "volume_id" varchar(36) NOT NULL,
  "key" varchar(255) DEFAULT NULL,
  "value" varchar(255) DEFAULT NULL,
  PRIMARY KEY ("id"),
  FOREIGN KEY ("volume_id") REFERENCES "volumes" ("id")
);
CREATE INDEX ix_volume_metadata_volume_id ON volume_metadata ("volume_id");

CREATE TABLE volume_admin_metadata (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" serial NOT NULL,
  "volume_id" varchar(36) NOT NULL,
  "key" varchar(255) DEFAULT NULL,
  "value" varchar(255) DEFAULT NULL,
  PRIMARY KEY ("id"),
  FOREIGN KEY ("volume_id") REFERENCES "volumes" ("id")
);
CREATE INDEX ix_volume_admin_metadata_volume_id ON volume_admin_metadata ("volume_id");

CREATE TABLE volume_attachment (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" varchar(36) NOT NULL,
  "volume_id" varchar(36) NOT NULL,
  "attached_host" varchar(255) DEFAULT NULL,
  "instance_uuid" varchar(36) DEFAULT NULL,
  "mountpoint" varchar(255) DEFAULT NULL,
  "attach_time" timestamp without time zone DEFAULT NULL,
  "detach_time" timestamp without time zone DEFAULT NULL,
  "attach_mode" varchar(36) DEFAULT NULL,
  "attach_status" varchar(255) DEFAULT NULL,
  "connection_info" text DEFAULT NULL,
  "connector" text DEFAULT NULL,
  PRIMARY KEY ("id"),
  FOREIGN KEY ("volume_id") REFERENCES "volumes" ("id")
);
CREATE INDEX ix_volume_attachment_volume_id ON volume_attachment ("volume_id");

CREATE TABLE snapshots (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" varchar(36) NOT NULL,
  "volume_id" varchar(36) NOT NULL,
  "user_id" varchar(255) DEFAULT NULL,
  "project_id" varchar(255) DEFAULT NULL,
  "status" varchar(255) DEFAULT NULL,
  "progress" varchar(255) DEFAULT NULL,
  "volume_size" integer DEFAULT NULL,
  "scheduled_at" timestamp without time zone DEFAULT NULL,
  "display_name" varchar(255) DEFAULT NULL,
  "display_description" varchar(255) DEFAULT NULL,
  "provider_location" varchar(255) DEFAULT NULL,
  "encryption_key_id" varchar(36) DEFAULT NULL,
  "volume_type_id" varchar(36) NOT NULL,
  "cgsnapshot_id" varchar(36) DEFAULT NULL,
  "provider_id" varchar(255) DEFAULT NULL,
  "provider_auth" varchar(255) DEFAULT NULL,
  "group_snapshot_id" varchar(36) DEFAULT NULL,
  "use_quota" boolean DEFAULT NULL,
  PRIMARY KEY ("id"),
  FOREIGN KEY ("volume_id") REFERENCES "volumes" ("id")
);
CREATE INDEX ix_snapshots_cgsnapshot_id ON snapshots ("cgsnapshot_id");
CREATE INDEX ix_snapshots_group_snapshot_id ON snapshots ("group_snapshot_id");
CREATE INDEX ix_snapshots_volume_id ON snapshots ("volume_id");

CREATE TABLE reservations (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" serial NOT NULL,
  "uuid" varchar(36) NOT NULL,
  "usage_id" integer DEFAULT NULL,
  "project_id" varchar(255) DEFAULT NULL,
  "resource" varchar(255) DEFAULT NULL,
  "delta" integer NOT NULL,
  "expire" timestamp without time zone DEFAULT NULL,
  "allocated_id" integer DEFAULT NULL,
  PRIMARY KEY ("id"),
  FOREIGN KEY ("usage_id") REFERENCES "quota_usages" ("id")
);
CREATE INDEX reservations_deleted_expire_idx ON reservations ("deleted","expire");
CREATE INDEX ix_reservations_project_id ON reservations ("project_id");
CREATE INDEX reservations_deleted_uuid_idx ON reservations ("deleted","uuid");
CREATE INDEX ix_reservations_usage_id ON reservations ("usage_id");
CREATE INDEX ix_reservations_allocated_id ON reservations ("allocated_id");

CREATE TABLE messages (
  "id" varchar(36) NOT NULL,
  "project_id" varchar(255) NOT NULL,
  "request_id" varchar(255) DEFAULT NULL,
  "resource_type" varchar(36) DEFAULT NULL,
  "resource_uuid" varchar(255) DEFAULT NULL,
  "event_id" varchar(255) NOT NULL,
  "message_level" varchar(255) NOT NULL,
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "expires_at" timestamp without time zone DEFAULT NULL,
  "detail_id" varchar(10) DEFAULT NULL,
  "action_id" varchar(10) DEFAULT NULL,
  PRIMARY KEY ("id")
);
CREATE INDEX ix_messages_expires_at ON messages ("expires_at");

CREATE TABLE workers (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" serial NOT NULL,
  "resource_type" varchar(40) NOT NULL,
  "resource_id" varchar(36) NOT NULL,
  "status" varchar(255) NOT NULL,
  "service_id" integer DEFAULT NULL,
  "race_preventer" integer NOT NULL DEFAULT 0,
  PRIMARY KEY ("id"),
  UNIQUE ("resource_type","resource_id"),
  FOREIGN KEY ("service_id") REFERENCES "services" ("id")
);
CREATE INDEX ix_workers_service_id ON workers ("service_id");

CREATE TABLE volume_types (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" varchar(36) NOT NULL,
  "name" varchar(255) DEFAULT NULL,
  "qos_specs_id" varchar(36) DEFAULT NULL,
  "is_public" boolean DEFAULT NULL,
  "description" varchar(255) DEFAULT NULL,
  PRIMARY KEY ("id")
);

CREATE TABLE volume_glance_metadata (
  "created_at" timestamp without time zone DEFAULT NULL,
  "updated_at" timestamp without time zone DEFAULT NULL,
  "deleted_at" timestamp without time zone DEFAULT NULL,
  "deleted" boolean DEFAULT NULL,
  "id" serial NOT NULL,
  "volume_id" varchar(36) DEFAULT NULL,
  "snapshot_id" varchar(36) DEFAULT NULL,
  "key" varchar(255) DEFAULT NULL,
  "value" text DEFAULT NULL,
  PRIMARY KEY ("id"),
  FOREIGN KEY ("volume_id") REFERENCES "volumes" ("id")
);
CREATE INDEX ix_volume_glance_metadata_volume_id ON volume_glance_metadata ("volume_id");
