-- From zed.mysql.sql to Cinder 28 (2026): its migrations since that touch these tables.
ALTER TABLE volumes MODIFY use_quota tinyint(1) NOT NULL DEFAULT 1;
ALTER TABLE snapshots MODIFY use_quota tinyint(1) NOT NULL DEFAULT 1;
ALTER TABLE reservations MODIFY resource varchar(300) DEFAULT NULL;
CREATE INDEX backups_volume_id_data_timestamp_idx ON backups (volume_id, data_timestamp);
