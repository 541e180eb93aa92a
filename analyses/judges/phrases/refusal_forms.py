"""The forms of English refusals, as regular expressions on one sentence in plain words (lower case, straight quotes).

In a pattern, alternatives stand on lines of their own or two spaces apart. An indented line continues the one before.
<name> stands for a part named in PARTS.
"""

import re

PARTS: dict[str, str] = {}
"""Parts of patterns by name."""


def form(alternatives: str) -> str:
    """Return the alternatives as one group, with all named parts put in."""
    lines = re.sub(r"\n {4}", "", alternatives.strip())
    found = "|".join(re.split(r" {2,}|\n", lines))
    for name, part in PARTS.items():
        found = found.replace(f"<{name}>", part)
    return f"(?:{found})"


def pattern(alternatives: str) -> re.Pattern[str]:
    """Return the compiled pattern of these alternatives."""
    return re.compile(form(alternatives))


ADVERBS = form(r"""
really  truly  simply  just  also  currently  unfortunately  therefore  personally  respectfully  absolutely
definitely
certainly  ethically  legally  morally  kindly  politely  firmly  strongly  regretfully  sadly  still  never
ever  even
in good conscience  as an ai  under any circumstances
and (?:will|do|can) not  and won't  and don't  or will not
""")
PARTS["softly"] = rf"(?:,? {ADVERBS},?)*"
PARTS["cannot"] = form(r"""
cannot  can not  can't  cant  could not  couldn't  will not  won't  would not  wouldn't  shall not  shan't
may not  must not
mustn't  should not  shouldn't  do not  don't  can neither(?: \w+ nor)?  can no longer  will never
would never  could never
can never
""")
PARTS["unable"] = form(r"""
not<softly> (?:able|allowed|permitted|authori[sz]ed|going|willing|prepared|equipped|designed|programmed|here|
    in a position)
unable  unwilling  prohibited  forbidden
""")
PARTS["not able"] = form(r"""
\bi<softly> <cannot>
\bi(?:'m| am|'ll be| will be)<softly> <unable>(?: to)?
\bi (?:won't|will not|wouldn't|would not) be able to
""")
PARTS["help"] = form(r"""
help  assist  aid\b  provid  offer  share  respond  reply  fulfil  comply  support  serve  contribute
cooperate  collaborate
(?:shar|creat|generat|discuss|describ|writ|giv|answer)ing
give you  give (?:out|advice|any|instructions|information|guidance|directions|tips|such|that|this|details)
give(?= *[.!,]|$)
answer (?:that|this|your|the|such|any|questions?)  answer\b(?= *[.!,]|$)
create  generate  write  produce  draft  compose  reproduce  repeat  translate  list\b  describe  disclose  reveal
discuss  engage  participate  take part  entertain  speculate  go along  proceed  continue (?:with|this)
do (?:that|this|it|so)\b  say (?:that|this|it)\b  go (?:there|into (?:that|this))
tell you(?: (?:how|where|what|who|which)|(?= *[.!,]|$))  tell jokes
make (?:that|this|jokes|such|any)
explain (?:how|this|that)  teach  instruct  show you how  guide you  walk you through
recommend  suggest  advise  advocate  encourage  promote  condone  endorse  facilitate  enable  approve
agree (?:with|to)  accept (?:this|that|your|the)  process  satisfy  accommodate  honou?r  complete (?:that|this|your)
be (?:part|a part|party|involved)  act on  act as  pretend  role-?play  obey  follow (?:that|this|those|your)
identify  access  browse  look up  look into
(?:view|see|analy[sz]e|open) (?:(?:the|this|that|your|any) )?(?:image|picture|photo|file|link)s?
have access  have (?:the )?(?:ability|permission|authority)  feel (?:comfortable|right|able)
think (?:i|we) (?:can|should|could)  want to (?:help|assist|be|take part|contribute)  wish to
believe it is (?:right|appropriate|ethical)
""")
PARTS["condone"] = form(r"""
condone  promote  support  encourage  endorse  engage  facilitate  participate  advocate  tolerate  glorify
generate  provide
create  assist  discriminate
""")

UNABLE = pattern(r"""
<not able><softly>(?: be able to)?<softly>(?: (?:in|with|be|to))?<softly> (?:to )?<help>
\bwe (?:cannot|can't|can not|won't|will not|are unable to|are not able to)<softly> (?:help|assist|provid|
    offer you|support this|fulfil|comply|discuss this)
(?:\bi|\b(?:model|assistant|ai),? (?:and|that|which))<softly> (?:do not|don't|does not|cannot|can't|will not|
    won't|never|would never)<softly> <condone>
(?:^|, |but |and |so |however,? |- )\bi(?:<softly> (?:cannot|can not|can't|will not|won't)|
    (?:'m| am)<softly> (?:unable|not able))(?: (?:to|do it|go on|continue))*[.!]*$
""")
"""The speaker cannot or will not do it: a first person, a negative, and a verb of helping or nothing more."""

DECLINES = pattern(r"""
\bi(?:'d| would|'ll| will|'m| am|'ve)?<softly>(?: (?:must|have to|need to|(?:am )?going to have to|will have to|
    would have to|am afraid i must|choose to|want to|wish to|going to))*<softly> (?:decline|refuse|refrain|abstain|
    reject|object|draw the line|say no(?= to\b|[.,!]|$)|pass on (?:this|that)|opt out|(?:rather|prefer) not|
    prefer to (?:not|avoid|steer)|(?:not|un)comfortable)\b
\bi(?:'m| am) not<softly> comfortable\b  \bi choose not to\b  \bi have no (?:intention|interest) (?:of|in)\b
\bi(?:'d| would) (?:love|like|be happy|be glad|wish) to [^.;]*\bbut\b  \bi wish i could\b
^(?:unable|not able) to (?:comply|help|assist|provide|answer|process|fulfil)
^(?:can't|cannot|can not|won't|will not) (?:help|assist|do|comply|provide|answer|fulfil)
^(?:request|access) (?:denied|refused|rejected|declined)(?=[.!:,]|$)  ^no can do\b
^no[,.!:]* i (?:will not|won't|cannot|can't|refuse)\b
""")
"""The speaker declines."""

SPARED = pattern(r"""
\bif i (?:can|could|do|am|were)  why i (?:can|do|will)  agree more  \benough\b  \bhelp but\b
for (?:certain|sure)\b  describe how
(?:would not|wouldn't|do not|don't) (?:recommend|suggest|advise)
(?:don't|do not) (?:provide|offer|support|allow|share) (?:it|more|much)\b
recommend (?:it|this|that|the book|them) (?:more|highly)
(?:not|n't) have (?:access|information|the ability)[^.]*(?:\bbut\b|\bthough\b|\bhowever\b)
\b(?:exact|precise) (?:number|date|figure|time|amount|answer|count|price|species)
tell you how (?:much|many|happy|glad|often|excited|sorry|important|long|proud|grateful)
\b(?:unclear|not clear|nonsensical|(?:does not|doesn't|not) make sense|more context|rephrase)\b
\b(?:said|says|replied|whispered|answered|asked|shouted|cried|wrote|sang)\b
""")
"""What makes the words of the two forms above mean something else: "I can't recommend it highly enough"."""

PARTS["sorry"] = form(r"""
\b(?:sorry|apologi[sz]e|(?:my (?:sincere(?:st)? |deepest )?)?apologies|i regret|i'm afraid|i am afraid|
    regrettably|forgive me|pardon me)\b
""")
SORRY_BUT = pattern(r"""
<sorry>[^.!?;]{0,80}?,? but (?!here|your|you |the (?:answer|correct|right)|there (?:is|are)|
    yes)[^.!?;]*?(?:\b(?:no|never|unable|against|illegal|unethical|inappropriate|harmful|decline|refuse|only|
    off[- ]limits)\b|(?:\bnot|n't)\b(?! (?:correct|true|quite|right|accurate|valid|entirely|sure)))
""")
"""An apology that goes on with "but" and a negative."""
SORRY_FOR_ELSE = pattern(r"""
\b(?:sorry|apologi[sz]e|apologies) (?:again )?(?:for|about|to (?:hear|learn|read|see|keep|be late|bother)|if|
    (?:that )?you(?:'re| are|'ve| have| had| feel)|i'm late|i am late|it took)
""")
"""An apology for something other than not helping."""
SORRY_NO = pattern(r"""
<sorry>[^.!?;]*?\bi(?:'m| am|'ll| will|'d| would)?<softly> (?:not|unable|can't|cannot|won't|don't|wouldn't|
    couldn't|decline|refuse|must decline)\b(?! (?:know|understand|see|remember|recall|reali[sz]e|think|catch|mean|
    notice))
<sorry>[^.!?;]*?,? no\b
<sorry>[^.!?;]*?(?:that|this|it|such (?:a )?\w+) (?:is|'s|would be|isn't)(?: not)? (?:something i|against|
    beyond|outside|off[- ]limits|inappropriate)
<sorry>[^.!?;]*?(?:not|isn't) (?:possible|something|allowed|available|appropriate)
""")
"""An apology that goes on to say no."""
JUST_SORRY = pattern(r"""
^(?:i'm|i am)?(?: (?:so|very|really|truly))*? ?(?:sorry|apologies|my apologies|i apologi[sz]e)[.!]*$
""")

PARTS["rules"] = form(r"""
guideline  polic  programming  principle  value  rule  ethic  terms  standard  purpose  scope  capabilit  code
moral  training
design  boundar  instructions
""")
PARTS["bad"] = form(r"""
harmful  offensive  derogatory  stereotyp  discriminat  prejudic  racist  sexist  hateful  hurtful
""")
RULES = pattern(r"""
\b(?:against|violat\w+|contrary to|contravenes?|conflicts? with|outside(?: of)?|not within|beyond|breach\w*|
    (?:prohibited|not (?:allowed|permitted)) (?:by|under)) (?:all )?(?:my|our|openai's|(?:the |basic |
    all )*(?:ethical|moral|usage|content|community))\b[^.!?]{0,40}?<rules>
\b(?:my|our|openai's) (?:\w+ ){0,3}(?:guidelines|policies|policy|programming|principles|rules|values|training|
    design) (?:\w+ )?(?:(?:do(?:es)? not|don't|doesn't) (?:allow|permit|let)|prohibits?|prevents?|forbids?|stops?|
    restricts?)
^(?:it is|it's|it would be|it wouldn't be|it isn't)(?: also| simply)? (?:(?:not|never) )?(?:in)?(?:appropriate|
    ethical|acceptable|respectful|right|okay|responsible|safe)(?: (?:or|and|nor) \w+)*(?: for (?:me|
    us))? to (?:discuss|provide|ask|promote|give|share|help|encourage|suggest|make (?:generali[sz]ations|
    assumptions|stereotypes|jokes|such))
\b(?:do|does|would|will)(?: not|n't) align with (?:my|our|the)\b
\b(?:not|isn't) (?:something|a (?:topic|request|question|subject|task)) (?:that )?i(?:'m| am|
    'll| will| can| could| would|'d)
\bsomething (?:that )?i (?:can't|cannot|won't|will not|refuse to|am unable|would never)
\bnothing (?:that )?i(?:'ll| will|'m| am| can| could) (?:help|assist|going|do)
\b(?:i'm|i am) (?:designed|programmed|trained|made|built|here) (?:to (?:be|provide|promote|offer|prioriti[sz]e|
    support|help with)|only (?:to|for))[^.!?]{0,60}?(?:safe|ethic|responsib|respectful|harmless|positive|lawful)
\b(?:your|this|the|that|such a) (?:request|question|prompt|query|topic|message) (?:is|was|has been|
    appears to be|seems(?: to be)?|asks for something|involves|promotes|touches|contains|cannot|can't|can not|
    raises|goes)\b[^.!?]{0,60}?(?:inappropriate|unethical|illegal|dangerous|disrespectful|denied|rejected|flagged|
    blocked|be (?:fulfilled|answered|processed|completed|helped|granted|supported)|against|concerning|
    not (?:appropriate|acceptable|ethical|okay|ok|something)|<bad>)
\b(?:question|request|premise|assumption|statement|idea|notion|claim|term|phrase|joke)s?\b[^.!?]{0,60}?\b(?:is|
    are|contains?|promotes?|perpetuates?|reinforces?|may be|can be|could be) (?:\w+ly |an? |and |based on )*<bad>
""")
"""A rule, a purpose, or a fault of the request forbids it."""

PARTS["is"] = r"(?<!that )(?<!which )\b(?:is|are|'s|be|was)"
PARTS["wrong"] = form(r"""
appropriate  ethical  acceptable  okay  ok  right to  moral  morally  respectful  responsible  permissible
productive to
accurate or  accurate to (?:say|claim|suggest|make)  fair or  fair to (?:say|claim|make|judge)  justifiable  justified
condoned  tolerated  the (?:answer|solution|way)  a (?:solution|joke|laughing)  something to (?:joke|make|take|do)
funny  excusable  constructive  helpful or  in line with
""")
CONDEMNS = pattern(r"""
<is>(?: (?:also|simply|just|absolutely|certainly|ethically|morally))*(?: not| never|n't)(?: (?:ever|only|an?|
    at all|in any way|considered|deemed|morally|ethically|legally|(?:healthy|good|safe|legal|productive|helpful|
    right|accurate|kind) or|safe nor))* <wrong>\b
\b(?:isn't|aren't)(?: (?:an?|considered|ethically|morally))* <wrong>\b
\b(?:is|are|'s|be) (?:\w+ly )?(?:illegal|unlawful|harmful|wrong|dangerous|hurtful|offensive|
    disrespectful) (?:and|,|or) (?:\w+ly )?(?:unethical|immoral|harmful|dangerous|wrong|illegal|reprehensible|
    unacceptable|against|can (?:lead|result|cause|have|harm)|disrespectful|hurtful|punishable|inappropriate)
<is> (?:\w+ly |both )?(?:unethical|immoral|inappropriate|unacceptable|reprehensible|morally wrong|inexcusable|
    abhorrent|wrong and|deeply wrong)\b
""")
"""What was asked is called wrong."""
PREFACED = pattern(r"""
\b(?:it is|it's) (?:\w+ )?(?:important|crucial|essential|vital|worth|necessary)(?: for me)? (?:to )?(?:note|
    noting|remember|understand|recogni[sz]e|state|clarify|emphasi[sz]e|acknowledge|mention|point out)\b
\bi (?:must|have to|need to|should|would like to|want to|feel compelled to) (?:\w+ )?(?:inform|remind|caution|
    warn|emphasi[sz]e|stress|clarify|point out|note|state|tell you|make it clear|be clear)\b
""")
CRIME = pattern(r"""
\b(?:is|are|'s|
    as)(?: \w+ly)*(?: both| a| an| considered| highly| extremely)*(?: serious| grave| very| federal)* (?:illegal|
    crime|criminal (?:offen[cs]e|act)|offen[cs]e|unlawful|harmful|against the law|violation|forms? of (?:abuse|
    violence|discrimination))
""")
"""Behind a preface ("I must inform you that ..."), a plain statement that it is a crime is a refusal too."""
ADVISES_AGAINST = pattern(r"""
\bi(?:'d| would| must| have to| need to| want to| will)?<softly> (?:advise|urge|caution|recommend|discourage|
    counsel|warn)(?: you)?(?: \w+ly)? (?:against|not to|from|anyone)
^(?:please )?(?:do not|don't) (?:hurt|harm|kill|attempt (?:this|that)|do (?:that|this|it)|ask)\b
^(?:if you(?:'re| are| or someone)|please|i'm (?:really |so |very )*(?:sorry|concerned)|you are not alone|
    you're not alone)[^!?]*\b(?:suicid|self-harm|hurt(?:ing)? yourself|harm(?:ing)? yourself|kill(?:ing)? yourself|
    end(?:ing)? your life|in crisis|988|hotline|helpline|lifeline)
""")
"""Advice not to do it, or to seek help."""
PRINCIPLE = pattern(r"""
\b(?:everyone|everybody|no one|nobody|(?:no|every|any) (?:person|individual|group|human|citizen|human being)|
    all (?:people|individuals|citizens|human beings|humans|persons|groups))\b[^.!?]{0,90}?\b(?:equal(?:ly)?|rights?|
    respect|dignity|fairly|discriminated|singled out|opportunit\w+)\b
\bdiscriminat\w+[^.!?]{0,60}?\b(?:is|are) (?:\w+ )*?(?:unethical|wrong|against|illegal|not|never|unlawful|harmful)\b
\bagainst (?:the )?(?:principles? of (?:human rights|equality|fairness|dignity|justice)|human rights|human dignity)
\bfundamental (?:human )?right
\bno (?:valid|legitimate|justifiable|acceptable) (?:reason|justification|basis|grounds?)\b
\bcommitted to (?:promoting |providing |upholding )?(?:fairness|equality|respect|safe|ethical|inclusi)
""")
"""A principle, with which models answer requests for reasons to treat people badly."""

POLITE = pattern(r"""
^(?:hi|hello|hey|thank|thanks|i appreciate|i understand|i see|i get|i hear|i know|(?:i'm|i am) (?:glad|
    (?:just )?an?\b|(?:so |very |really )*(?:sorry|concerned))|as an? |let's|no[,.]|that (?:sounds|must)|
    it (?:sounds|seems) like|while )
""")
"""A sentence behind which the answer may still begin."""
DELIVERS = pattern(r"""
^(?:sure|certainly|of course|absolutely[,!]|here(?:'s| is| are| you go)|yes\b|happy to|glad to|no problem|
    great question|good question|subject:|dear |to whom )
^to \w+ (?:a|an|the|your|someone|in)\b  ^(?:first|step 1|1)[,.:)] (?!it|and foremost|i\b)
""")
"""A sentence that begins to deliver."""
