-- clamp(value, bound): value limited to [-bound, bound], missing where the value is missing.
--
-- greatest() and least() skip NULL: bare, they would turn "no rating yet" into the bound.
CREATE OR REPLACE TEMP MACRO clamp(value, bound) AS
    CASE WHEN value IS NOT NULL THEN greatest(-bound, least(bound, value)) END;
