-- For inspection: the agent tokens among the records, column by column. Times are milliseconds
-- since 1970. A session that has ended makes a token inactive until its owner logs in again.
CREATE VIEW agent_tokens AS
SELECT
    key                                  AS id,
    value ->> '$.name'                   AS name,
    value ->> '$.hash'                   AS token_hash,
    value ->> '$.owner.email'            AS user_email,
    value ->> '$.owner.subject'          AS user_id,
    value ->> '$.owner.issuer'           AS provider,
    value ->> '$.revoked_at' IS NULL
        AND coalesce(value ->> '$.ends_at' > unixepoch() * 1000, 1)
                                         AS is_active,
    value ->> '$.revoked_at' IS NULL
        AND coalesce(value ->> '$.ends_at' > unixepoch() * 1000, 1)
        AND coalesce(value ->> '$.auth_expires_at' > unixepoch() * 1000, 1)
                                         AS is_authenticated,
    value ->> '$.created_at'             AS created_at,
    value ->> '$.last_authenticated_at'  AS last_authenticated_at,
    value ->> '$.auth_expires_at'        AS auth_expires_at,
    value ->> '$.ends_at'                AS ends_at,
    value ->> '$.rotated_to'             AS rotated_to,
    value ->> '$.revoked_at'             AS revoked_at
FROM (
    SELECT key, CAST(value AS TEXT) AS value FROM records WHERE kind = 'agent_token'
);
