-- The number of a payer, who gets one with the first usage.
INSERT INTO payers (tenant, team, user, token, last_day) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (tenant, team, user, token) DO UPDATE SET last_day = max(last_day, excluded.last_day)
RETURNING id
