{#-
    Every figure a mart shows is made here, once; what each means is in models/docs/metrics.md.
    Arguments are whole numbers; a rate without a divisor is null, not zero.
-#}
{% macro ratio(part, whole) -%}
    (cast({{ part }} as double precision) / nullif(cast({{ whole }} as double precision), 0))
{%- endmacro %}

{% macro delivery_rate(delivered='delivered', sent='sent') -%} {{ ratio(delivered, sent) }} {%- endmacro %}

{% macro read_rate(read='read', delivered='delivered') -%} {{ ratio(read, delivered) }} {%- endmacro %}

{% macro response_rate(replied='replied', sent='sent') -%} {{ ratio(replied, sent) }} {%- endmacro %}

{% macro conversion_rate(converted='converted', sent='sent') -%} {{ ratio(converted, sent) }} {%- endmacro %}

{#- Whole cents, halves away from zero; null when the tenant has set no price. -#}
{% macro cost_cents(sent, message_cost_cents) -%}
    cast(round({{ sent }} * {{ message_cost_cents }}, 0) as bigint)
{%- endmacro %}

{% macro roi(revenue_cents, cost_cents) -%} {{ ratio(revenue_cents ~ ' - ' ~ cost_cents, cost_cents) }} {%- endmacro %}

{#- 0 to 100, half for reading and half for answering; null on a day on which nothing was sent. -#}
{% macro engagement_score(sent, delivered, read, replied) -%}
    (50 * coalesce({{ read_rate(read, delivered) }}, 0) + 50 * {{ response_rate(replied, sent) }})
{%- endmacro %}

{#- A lead is hot above this score. -#}
{% macro hot_lead_score() -%} 80 {%- endmacro %}

{#- The normal distribution's 97.5 % point: 95 % lie within this many standard errors. -#}
{% macro z_95() -%} cast(1.959963984540054 as double precision) {%- endmacro %}

{#-
    A limit of Wilson's interval of a rate at 95 %: `sign` '-' for the lower, '+' for the upper. Sensible for none of the
    people and for all. E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference.
-#}
{% macro wilson_limit(rate, people, sign) -%}
    (least(1, greatest(0, (
        {{ rate }} + {{ z_95() }} * {{ z_95() }} / (2 * {{ people }})
        {{ sign }} {{ z_95() }} * sqrt(
            {{ rate }} * (1 - {{ rate }}) / {{ people }} + {{ z_95() }} * {{ z_95() }} / (4 * {{ people }} * {{ people }})
        )
    ) / (1 + {{ z_95() }} * {{ z_95() }} / {{ people }}))))
{%- endmacro %}
