-- From zed.postgresql.sql to Cinder 28 (2026): its migrations since that touch these tables.
ALTER TABLE volumes ALTER use_quota SET DEFAULT true, ALTER use_quota SET NOT NULL;
ALTER TABLE snapshots ALTER use_quota SET DEFAULT true, ALTER use_quota SET NOT NULL;
ALTER TABLE reservations ALTER resource TYPE varchar(300);
CREATE INDEX backups_volume_id_data_timestamp_idx ON backups (volume_id, data_timestamp);
