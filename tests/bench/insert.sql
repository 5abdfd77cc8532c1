\set account random(1, 1000)
INSERT INTO public.bare (a, b) VALUES (:account::bigint, 'one row, nothing else');
