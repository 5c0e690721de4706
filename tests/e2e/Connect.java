// Does what XNAT does with the lines that `apply` prints: java -cp postgresql.jar Connect.java xnat-conf.properties
// Writes a row and reads it back; then connects again with the password in the URL itself.

import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;

public class Connect {
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        try (var file = Files.newInputStream(Path.of(arguments[0]))) {
            settings.load(file);
        }
        String url = settings.getProperty("datasource.url");
        String user = settings.getProperty("datasource.username");
        String password = settings.getProperty("datasource.password");
        try (Connection connection = DriverManager.getConnection(url, user, password)) {
            writeAndRead(connection, "properties");
        }
        String encoded = URLEncoder.encode(password, StandardCharsets.UTF_8);
        try (Connection connection = DriverManager.getConnection(url + "&user=" + user + "&password=" + encoded)) {
            writeAndRead(connection, "url");
        }
    }

    private static void writeAndRead(Connection connection, String from) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE IF NOT EXISTS jdbc (v text)");
            statement.execute("INSERT INTO jdbc VALUES ('" + from + "')");
            try (ResultSet rows = statement.executeQuery("SELECT v FROM jdbc WHERE v = '" + from + "'")) {
                rows.next();
                System.out.println("with the password from the " + rows.getString(1));
            }
        }
    }
}
