"""What the columns of contact files are called, in the languages and products that write them."""

from collections.abc import Mapping, Sequence

HEADINGS: Mapping[str, Sequence[str]] = {
    field: tuple(words.split())
    for field, words in {
        "contact_email": """
            contactemail contactemailaddress email emailaddress workemail workemailaddress businessemail primaryemail
            emails emailid email1value emailwork personemail personemailwork prospectemail leademail buyeremail contactemails
            primaryemailaddress businessemailaddress corporateemail mailaddress
            emailadresse mailadresse geschaftlicheemail emailgeschaftlich dienstlicheemail
            adresseemail adressemail adressedemessagerie courriel adressecourriel emailprofessionnel mailprofessionnel
            correoelectronico correo direcciondecorreoelectronico direcciondecorreo emaildetrabajo correodetrabajo
            indirizzoemail indirizzodipostaelettronica postaelettronica emailaziendale emaildilavoro
            emailadres mailadres zakelijkemail zakelijkemailadres werkemail
            epost epostadress epostadresse mejl mejladress arbetsepost jobbepost emailarbejde arbejdsemail
            sahkoposti sahkopostiosoite adresemail adrespocztyelektronicznej sluzbowyadresemail
            emailovaadresa pracovniemail emailcim
            enderecodeemail enderecoemail correioeletronico emailprofissional emailcorporativo emaildetrabalho
        """,
        "interview_request_id": "interviewrequestid interviewid hindsightinterviewrequestid",
        "contact_name": """
            contactname contactfullname fullname name personname prospectname leadname prospectfullname
            vollstandigername vorundnachname ansprechpartner kontaktname namedeskontakts
            nomcomplet nometprenom prenometnom nomducontact
            nombrecompleto nombreyapellidos nombreyapellido nombredelcontacto
            nomecompleto nomeecognome cognomeenome nomecontatto nomedelcontatto
            volledigenaam naam naamcontactpersoon contactpersoon
            nomeesobrenome nomecompletodocontato nomedocontato
            fullstandigtnamn namn kontaktnamn kontaktperson fuldenavn fulltnavn navn kontaktnavn
            kokonimi nimi imieinazwisko celejmeno jmenoaprijmeni teljesnev
        """,
        "first_name": """
            firstname givenname contactfirstname personfirstname prospectfirstname leadfirstname
            vorname prenom nombre nombredepila nome primeironome voornaam
            fornamn fornavn etunimi imie jmeno krestnijmeno keresztnev utonev
        """,
        "last_name": """
            lastname surname familyname contactlastname personlastname prospectlastname leadlastname
            nachname familienname zuname nom nomdefamille apellidos apellido cognome achternaam sobrenome ultimonome
            efternamn efternavn etternavn sukunimi nazwisko prijmeni vezeteknev csaladnev
        """,
        "contact_context": "contactcontext context",
        "deal_id": "dealid hindsightdealid",
        "objective": "objective interviewobjective",
        "sequence_id": "sequenceid",
        "interview_type_id": "interviewtypeid",
    }.items()
}
"""What a column may be called, by the field it feeds; case, spaces and punctuation do not count.

First and last name are joined into `contact_name`. CRM record ids are no deal ids of Hindsight.
"""

SURNAME_BESIDE_FIRST_NAME = {"vorname": "name", "voornaam": "naam"}
"""In these languages the surname is only called the name, where the first name has a column of its own."""
